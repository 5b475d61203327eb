"""What goes wrong with answers: every pattern, the most specific first."""

from collections.abc import Callable, Sequence
from typing import Final

from modelyard.rollout.causes.of_answers import (
    class_dropped,
    constant_answer,
    formula,
    hardly_related,
    one_class,
    other_outline,
    scaled_odds,
    shifted_odds,
    swapped_classes,
    unrelated,
)
from modelyard.rollout.causes.of_inputs import bad_slice, missing_values, one_input, one_line, saturated
from modelyard.rollout.causes.of_sequence import batches, drifting, previous_answer, unstable
from modelyard.rollout.causes.paired import Found, Paired
from modelyard.rollout.judging import Check

Pattern = Callable[[Paired, Sequence[Check]], Found]

PATTERNS: Final[tuple[Pattern, ...]] = (
    other_outline,
    constant_answer,
    batches,
    previous_answer,
    drifting,
    unstable,
    swapped_classes,
    missing_values,
    scaled_odds,
    formula,
    class_dropped,
    bad_slice,
    unrelated,
    one_line,
    shifted_odds,
    saturated,
    one_input,
    one_class,
    hardly_related,
)
