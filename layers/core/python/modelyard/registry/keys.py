"""Where each kind of record lies in the one table. The names are final: later releases read what earlier ones wrote."""

from typing import Any

import msgspec

from modelyard.ports import Item

CATALOGUE = "CATALOGUE"
MODEL = "MODEL"
DEPLOYMENT = "DEPLOYMENT"
VERSION = "VERSION#"
IDENTITY = "IDENTITY#"
LEDGER = "LEDGER#"
DEPLOYED = "DEPLOYED#"
OPERATION = "OPERATION#"
"""Changes of a deployment; their ids may be given by a caller."""
ONCE = "ONCE#"
"""What retraining writes once; apart from the operations, so that no caller's id can collide with it."""
OBJECT = "OBJECT"
"""The mark of a stored object, the only item of its partition."""
NOTES = "NOTES"
FIND = "FIND#"
FILE = "FILE#"
VERSIONS = "VERSIONS#"
"""Partitions of the search index; see ``modelyard.registry.index``."""
INDEXED = "INDEXED"
"""Which entries the search index holds of a model; in a partition of the index."""
DATASET = "DATASET#"
EVALUATION_SET = "EVALUATION_SET#"
REFRESH = "REFRESH#"
"""Requests for another evaluation set, under the number of the one that is to be replaced."""
LEARNT = "LEARNT#"
"""What a training came to, under the digest of what it learnt from."""
RUN = "RUN#"
CLAIMED = "CLAIMED#"
"""Claims on what starts a run and is no upload; those on uploads have partitions of their own."""
TURN = "TURN"
"""Whose turn it is to train."""
RELEASE_OVERRIDE = "RELEASE_OVERRIDE#"
"""Overrides of code releases, under their ids; apart from the operations, which change what is live."""
ROLLOUT = "ROLLOUT"
"""Which rollout is the present or the last one: the claim on the model's traffic."""
ROLLOUTS = "ROLLOUT#"
"""Rollouts, under their ids."""


def partition(model: str) -> str:
    """The partition of one model; everything about it is under this key."""
    return f"MODEL#{model}"


def claim_partition(bucket: str, key: str) -> str:
    """The partition of the claims on one uploaded object."""
    return f"CLAIM#{bucket}/{key}"


def index_partition(model: str) -> str:
    """The partition of what the search index says about itself, for one model."""
    return f"{VERSIONS}{model}"


def object_partition(key: str) -> str:
    """The partition of the mark of an object in the artifact bucket."""
    return f"OBJECT#{key}"


def version(number: int) -> str:
    """Sort key of a version; padded, so that text order is number order."""
    return f"{VERSION}{number:08d}"


def ledger(at: str, operation: str) -> str:
    """Sort key of a ledger entry."""
    return f"{LEDGER}{at}#{operation}"


def dataset(at: str, sha256: str) -> str:
    """Sort key of an accepted training file."""
    return f"{DATASET}{at}#{sha256[:16]}"


def evaluation_set(number: int) -> str:
    """Sort key of a frozen evaluation set."""
    return f"{EVALUATION_SET}{number:06d}"


def refresh(number: int) -> str:
    """Sort key of the request to replace an evaluation set."""
    return f"{REFRESH}{number:06d}"


def item(pk: str, sk: str, record: msgspec.Struct | dict[str, Any]) -> Item:
    """``record`` as the item with this key."""
    return {"pk": pk, "sk": sk, **msgspec.to_builtins(record)}
