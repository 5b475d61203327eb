"""The control plane: API Gateway event in, answer out; FastAPI under Mangum.

Every request writes one audit line. Clients are made while Lambda initialises the function.
"""

import os
from typing import Any

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.presigned import S3UploadSigner
from modelyard.aws.signals import EventSignals
from modelyard.aws.table import DynamoDBRecords
from modelyard.control.adapter import Adapter
from modelyard.control.app import create_app
from modelyard.control.journal import StructuredJournal
from modelyard.control.settings import ControlSettings
from modelyard.registry import Registry

DEADLINE_S = 10.0
"""How long a request competes with other writers: well within the function's 29 s and API Gateway's 30 s."""

CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ATTEMPTS = 1.0, 5.0, 3
"""A call that hangs becomes a problem document before Lambda ends the function, which would answer nothing.

At worst no connection comes about: each attempt then tries up to 8 addresses of S3, and pauses add 3 s at most.
"""

SETTINGS = ControlSettings.read(os.environ)
CLIENTS = Clients(connect_timeout_s=CONNECT_TIMEOUT_S, read_timeout_s=READ_TIMEOUT_S, attempts=ATTEMPTS)
RECORDS = DynamoDBRecords(CLIENTS.dynamodb, SETTINGS.table, deadline_s=DEADLINE_S)
ARTIFACTS = S3Artifacts(CLIENTS.s3, SETTINGS.artifact_bucket)
JOURNAL = StructuredJournal()


def registry_for(actor: str) -> Registry:
    """The registry as ``actor`` acts on it."""
    return Registry(RECORDS, ARTIFACTS, actor=actor, deadline_s=DEADLINE_S)


APP = create_app(
    registry_for,
    S3UploadSigner(CLIENTS, SETTINGS.artifact_bucket),
    journal=JOURNAL,
    require_reason=SETTINGS.require_reason,
    signals=EventSignals(CLIENTS, SETTINGS.event_bus) if SETTINGS.event_bus else None,
)
ADAPTER = Adapter(APP, journal=JOURNAL)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return ADAPTER(event, context)
