"""Registry, report: what a sweep would remove, by schedule. It removes nothing and its role could not."""

import os
from datetime import timedelta
from typing import Any

from modelyard.aws.registry import open_registry
from modelyard.upkeep import report_orphans

REGISTRY = open_registry(os.environ)
GRACE = timedelta(days=int(os.environ["MODELYARD_GRACE_DAYS"]))


def handler(_event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return report_orphans(REGISTRY, older_than=GRACE, say=print)
