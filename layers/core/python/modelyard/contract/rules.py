"""What ``[contract]`` of a spec says, as it reaches those who have no pydantic: how a contract is inferred.

Typed like the training plan, which carries it into the retraining functions. Unknown keys are let through.
"""

import msgspec

from modelyard.contract.document import Mode

TOLERANCE = 0.5


class FieldRules(msgspec.Struct, frozen=True):
    """What a person says about one input; None leaves it to what was seen."""

    mode: Mode | None = None
    minimum: float | None = None
    maximum: float | None = None


class Accepted(msgspec.Struct, frozen=True):
    """Breaks that somebody answers for: those of the live version ``version``, and of no other."""

    version: int
    reason: str


class Rules(msgspec.Struct, frozen=True):
    """How a contract is inferred.

    Attributes:
        tolerance: Room on both sides of a range, as a multiple of the span that was seen.
        mode: What happens to a value outside, where a field says nothing else.
        fields: What is said about single inputs.
        accept_breaking: Which breaks a retraining run may register.
    """

    tolerance: float = TOLERANCE
    mode: Mode = "reject"
    fields: dict[str, FieldRules] = {}
    accept_breaking: Accepted | None = None

    def accepted(self, live: int | None) -> str | None:
        """Why breaks of the live version are accepted; None when they are not."""
        said = self.accept_breaking
        return said.reason if said is not None and said.version == live else None
