"""The rows of the pairs that both versions answered validly, in the order of time: what patterns are looked for in."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.metrics import Floats, Rows
from modelyard.rollout.answers import FORMS, Answer
from modelyard.rollout.checks.agreement import disagreements
from modelyard.rollout.checks.look import Look
from modelyard.rollout.observations import Flags
from modelyard.rollout.slicing import Frozen

FEWEST = 10
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
        inputs: What equal inputs share.
        missing: Rows with a missing input.
        instances: The rows.
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
    inputs: Rows
    missing: Flags
    instances: list[Any]
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
    def asked(self) -> float:
        """The agreement that is asked for; where none is, nine rows in ten."""
        least = self.look.policy.min_agreement
        return 0.9 if least is None else least

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
        inputs=table.inputs[kept],
        missing=table.missing[kept],
        instances=[instances[row] for row in kept],
        answers=[one.answers[row] for row in kept],
        answered=[two.answers[row] for row in kept],
    )
