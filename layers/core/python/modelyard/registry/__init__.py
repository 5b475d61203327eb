"""The registry: what versions exist, what is live, who changed it, and why.

S3 holds bytes, DynamoDB holds the truth (DESIGN of the table: ``keys``). One class with all verbs, one module for each
idea: ``reading`` (queries), ``publishing`` (a version becomes visible), ``deploying`` (a version becomes live),
``finding`` (search), ``noting`` (the owner's words), ``runs`` (what retraining writes down), ``turns`` (which run
trains), ``rollouts`` (how a version meets traffic), ``releasing`` (which alarms a code release may pass),
``evaluation_sets`` (which rows judge), ``sweeping`` (removing what no record names). All work over the two ports of
``modelyard.ports`` and import no AWS client.
"""

from modelyard.registry.evaluation_sets import EvaluationSets
from modelyard.registry.finding import Bounds, Finder, Search
from modelyard.registry.noting import Noter
from modelyard.registry.publishing import Publisher
from modelyard.registry.records import (
    CatalogueLine,
    DatasetFile,
    Found,
    FoundVersion,
    FrozenSet,
    Learnt,
    ModelRecord,
    Notes,
    Registered,
    Run,
    Sweep,
)
from modelyard.registry.releasing import Releaser
from modelyard.registry.rollouts import Rollouts
from modelyard.registry.runs import RunLog
from modelyard.registry.sweeping import Sweeper
from modelyard.registry.turns import TurnKeeper
from modelyard.rollout.record import Rollout

__all__ = [
    "Bounds",
    "CatalogueLine",
    "DatasetFile",
    "Found",
    "FoundVersion",
    "FrozenSet",
    "Learnt",
    "ModelRecord",
    "Notes",
    "Registered",
    "Registry",
    "Rollout",
    "Run",
    "Search",
    "Sweep",
]


class Registry(Publisher, Rollouts, Finder, Noter, RunLog, TurnKeeper, EvaluationSets, Releaser, Sweeper):
    """All verbs. See ``modelyard.registry.reading.Reader`` for what it is made of.

    Example:
        >>> from modelyard.aws.bucket import S3Artifacts
        >>> from modelyard.aws.clients import Clients
        >>> from modelyard.aws.table import DynamoDBRecords
        >>> def open_registry(table: str, bucket: str, actor: str) -> Registry:
        ...     clients = Clients()
        ...     records = DynamoDBRecords(clients.dynamodb, table)
        ...     return Registry(records, S3Artifacts(clients.s3, bucket), actor=actor)
    """
