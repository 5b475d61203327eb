"""What a registration keeps of the promises of the live version: its contract is one, and breaks are named.

Pure; ``publishing`` reads what is live and asks here. What a break is decides ``modelyard.contract.breaking``.
"""

from collections.abc import Sequence
from typing import Any

from modelyard.contract.document import parse
from modelyard.contract.signatures import Break
from modelyard.errors import ConflictError, UsageError
from modelyard.version import Manifest

MOST_BREAKS = 50
"""Accepted breaks that a line of the ledger lists."""


def check_contract(manifest: Manifest) -> None:
    """Return when the contract is one, and says something about every input and nothing else.

    Raises:
        UsageError: With code ``invalid_contract``.
    """
    fields = parse(manifest.contract).fields
    inputs = {tensor.name: (tensor.dtype, tensor.shape) for tensor in manifest.signature.inputs}
    found = {name: (field.dtype, field.shape) for name, field in fields.items()}
    if found != inputs:
        at_fault = next(name for name in (*found, *inputs) if found.get(name) != inputs.get(name))
        raise UsageError(
            f"the contract and the signature say different things about {at_fault!r}: a contract has every input, with "
            "its dtype and shape, and nothing else",
            code="invalid_contract",
            field=f"contract.fields.{at_fault}",
            next_step="Make the contract from this model's signature.",
        )


def refusal(model: str, live: int | None, broken: Sequence[Break]) -> ConflictError:
    """The error that lists every break."""
    listed = "".join(f"\n  {found.sentence}" for found in broken)
    count = "1 thing" if len(broken) == 1 else f"{len(broken)} things"
    return ConflictError(
        f"this version would break {count} for callers of version {live} of model {model!r}, which is live:{listed}",
        code="breaking_contract",
        field=broken[0].field or None,
        next_step="Keep what callers rely on, or register it with --accept-breaking 'REASON' (in an HTTP body: "
        "accept_breaking) once they are ready for it.",
    )


def accepted(reason: str | None, live: int | None, broken: Sequence[Break]) -> dict[str, Any]:
    """What the ledger says about breaks that somebody accepted; nothing where there are none."""
    if reason is None or not broken:
        return {}
    sentences = [found.sentence for found in broken]
    more = [f"and {len(broken) - MOST_BREAKS:,} more"] if len(broken) > MOST_BREAKS else []
    return {"accept_breaking": reason, "live": live, "breaks": [*sentences[:MOST_BREAKS], *more]}
