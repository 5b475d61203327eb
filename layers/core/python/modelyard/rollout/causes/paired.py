"""The rows of the pairs that both versions answered validly, in the order of time: what patterns are looked for in."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from modelyard.metrics import Floats, Rows
from modelyard.rollout.answers import FORMS, Answer
from modelyard.rollout.causes.columns import Columns
from modelyard.rollout.checks.agreement import disagreements
from modelyard.rollout.checks.look import Look
from modelyard.rollout.observations import Flags
from modelyard.rollout.slicing import FREEZE, Frozen, spread_of

FEWEST = 10
ALIKE = (0.7, 0.85)
"""What agrees less is explained by no pattern, and what agrees more by it, whatever the policy asks for: a harmless
challenger under the same pattern does not agree wholly either."""
NOT_BY_CHANCE = 0.5
"""A kappa; two classes alike often agree with any order of each other in half of the rows."""
MOST_PLACES = 8
"""Of a list of numbers."""
Found = tuple[str, str] | None
"""A cause's code and its sentence; None where a pattern is not there."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Champion and challenger, row by row.

    Attributes:
        look: Where it comes from.
        frozen: What was frozen.
        form: The champion's form.
        differ: Which rows differ.
        keys: The champion's keys, as numbers.
        other: The challenger's.
        numbers: The champion's numbers.
        others: The challenger's.
        of: The request of each row.
        size: How many rows that request has.
        processes: The process that answered each row, as a number.
        inputs: What equal inputs share.
        missing: Rows with a missing input.
        columns: The rows' inputs.
        answers: The champion's answers.
        answered: The challenger's.
    """

    look: Look
    frozen: Frozen
    form: str
    differ: Flags
    keys: Rows
    other: Rows
    numbers: Floats
    others: Floats
    of: Rows
    size: Rows
    processes: Rows
    inputs: Rows
    missing: Flags
    columns: Columns
    answers: list[Answer]
    answered: list[Answer]

    def __len__(self) -> int:
        return len(self.differ)

    @property
    def numeric(self) -> bool:
        """Whether answers are numbers."""
        return self.form == "number"

    @property
    def moving(self) -> list[str]:
        """What moves: nothing by name where answers are numbers, else the most frequent classes."""
        return self.frozen.classes[:6] if self.form == "classes" else [""]

    @property
    def agreement(self) -> float:
        """The share of rows that agree."""
        return 1 - float(self.differ.mean())

    @property
    def same(self) -> float:
        """The share of rows with the same key: the same label, or other JSON that is the same but for its numbers."""
        return float((self.keys == self.other).mean())

    @property
    def asked(self) -> float:
        """The agreement that a pattern has to explain: what the policy asks for, within `ALIKE`."""
        least = self.look.policy.min_agreement
        return ALIKE[1] if least is None else float(np.clip(least, *ALIKE))

    def probability(self, name: str, *, challenger: bool = False) -> Floats:
        """What one side gives to a class, row by row."""
        side = self.answered if challenger else self.answers
        return np.array([(answer.probabilities or {}).get(name, 0.0) for answer in side])

    def certainty(self, *, challenger: bool = False) -> Floats:
        """The largest probability that one side gives, row by row."""
        side = self.answered if challenger else self.answers
        return np.array([max((answer.probabilities or {"": 0.0}).values()) for answer in side])

    def name(self, key: int) -> str:
        """A key as text."""
        return list(self.look.observations.names)[key]

    def agrees(self, left: Floats, right: Floats) -> float:
        """The share of numbers within the tolerance of each other."""
        with np.errstate(invalid="ignore"):
            return float((np.abs(left - right) <= self.look.policy.tolerance * self.frozen.spread).mean())


def numbers_one_by_one(both: Paired) -> list[Paired]:
    """Lists of numbers as one model for each place: the places that differ most, the worst first.

    So are the numbers of other JSON, where all the rest of it agrees. Empty where answers are no such lists.
    """
    lengths = {len(answer.vector or ()) for answer in (*both.answers, *both.answered)}
    agreeing = both.form == "vector" or (both.form == "other" and both.same >= both.asked)
    if not agreeing or len(lengths) != 1 or 0 in lengths:
        return []
    left = np.array([answer.vector for answer in both.answers])
    right = np.array([answer.vector for answer in both.answered])
    found = []
    for one, two in zip(left.T, right.T, strict=True):
        frozen = replace(both.frozen, form="number", spread=spread_of(one[:FREEZE]))
        differ = np.abs(one - two) > both.look.policy.tolerance * frozen.spread
        found.append(dataclasses.replace(both, form="number", frozen=frozen, numbers=one, others=two, differ=differ))
    found.sort(key=lambda view: view.agreement)
    return [view for view in found[:MOST_PLACES] if view.differ.any()]


def paired(look: Look) -> Paired | None:
    """The rows that can be compared; None where there are hardly any."""
    table = look.observations.pairs
    one, two, differ = table.champion, table.challenger, disagreements(look)
    if one is None or two is None or differ is None or look.frozen is None:
        return None
    kept = np.flatnonzero(~np.isnan(differ))
    if len(kept) < FEWEST:
        return None
    size = np.bincount(table.of, minlength=len(table))[table.of]
    instances = table.instances
    processes = np.unique([request.process for request in table.requests], return_inverse=True)[1]
    return Paired(
        look=look,
        frozen=look.frozen,
        form=FORMS[look.form],
        differ=differ[kept] > 0,
        keys=one.key[kept],
        other=two.key[kept],
        numbers=one.number[kept],
        others=two.number[kept],
        of=table.of[kept],
        size=size[kept],
        processes=processes[table.of[kept]],
        inputs=table.inputs[kept],
        missing=table.missing[kept],
        columns=Columns([instances[row] for row in kept]),
        answers=[one.answers[row] for row in kept],
        answered=[two.answers[row] for row in kept],
    )
