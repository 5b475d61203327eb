"""What a rollout asks of a challenger: the limits, and how sure a verdict has to be. From the spec's ``[rollout]``.

A limit of None switches its check off. Limits that are left out for slices and quality follow from the others, so that
a policy without any key is one to start with.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from modelyard.tasks import CLASS_METRICS

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


CLASS_AGREEMENT = 0.25


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one rollout. They stay the same from its first to its last look.

    Attributes:
        confidence: At least so sure that no harmless challenger is aborted, over all checks, slices and looks together.
        min_samples: Requests from which on a step may end well.
        max_error_rate: Share of requests without a valid answer, beyond the champion's own.
        min_agreement: Share of rows with the champion's answer: the same label, or a number within ``tolerance``.
        tolerance: How far two numbers may differ and still agree, as a share of the spread of the champion's answers.
        max_shift: Population stability index of the answers against the champion's.
        max_latency_ratio: The challenger's time against the champion's, as a median.
        max_memory_growth_mb: What the challenger may add to a process after its first requests.
        metric: What quality is measured by where labels come, as in ``[evaluation]``; left out, accuracy or mae.
        max_quality_loss: Most that the metric may lose by labels; left out, `modelyard.rollout.losses` says.
        slices: Columns of the instances, each value of which is judged by itself.
        min_slice_agreement: As ``min_agreement``, of each slice; left out, 0.2 less than the whole.
        max_slice_loss: As ``max_quality_loss``, of each slice; left out, three times the whole.
    """

    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    min_samples: Annotated[int, Meta(ge=1)] = 200
    max_error_rate: Share = 0.001
    min_agreement: Share | None = 0.8
    tolerance: Positive = 0.5
    max_shift: Positive | None = 0.25
    max_latency_ratio: Positive | None = 1.5
    max_memory_growth_mb: Positive | None = 64.0
    metric: str | None = None
    max_quality_loss: Annotated[float, Meta(ge=0)] | None = None
    slices: tuple[str, ...] = ()
    min_slice_agreement: Share | None = None
    max_slice_loss: Annotated[float, Meta(ge=0)] | None = None

    @property
    def alpha(self) -> float:
        """What may go wrong over the whole rollout."""
        return 1 - self.confidence

    @property
    def of_classes(self) -> bool:
        """Whether the metric says that answers are classes; then a whole number is a label."""
        return self.metric in CLASS_METRICS

    @property
    def slice_agreement(self) -> float | None:
        """The least agreement of a slice; None where agreement is not asked for."""
        if self.min_slice_agreement is not None or self.min_agreement is None:
            return self.min_slice_agreement
        return max(0.0, round(self.min_agreement - 0.2, 10))

    @property
    def class_agreement(self) -> float | None:
        """The least agreement where the champion answers one class: far below that of a slice, for a class is rarer."""
        return None if self.slice_agreement is None else min(CLASS_AGREEMENT, self.slice_agreement)
