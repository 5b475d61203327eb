"""How far two distributions of answers are apart: the population stability index and the Jensen-Shannon divergence.

The rule: a shift that is claimed is shown by shares whose intervals do not touch. Each bin's share has a confidence
sequence on either side; the least distance that fits them takes the two shares of each bin as near to each other as
their intervals let them. And all bins are joined into two: those of which the champion has more, and the rest. Joining
bins never adds distance, so that is a lower end as well, and the stronger one where many bins moved a little. Which
bins are joined is chosen after looking, so the interval of that share is made to hold for all of the ``2^(bins - 1)``
ways at once. The larger of the two lower ends counts. The upper end takes the shares as far apart as they may be.

PSI: ``sum (p - q) ln(p / q)``, also Jeffreys' divergence; below 0.1 is usually called stable, above 0.2 a shift.
Sources: Jeffreys, "An invariant form for the prior probability in estimation problems", Proc. R. Soc. A 186, 1946;
Lewis, "An Introduction to Credit Scoring", 1994 (as PSI). Jensen-Shannon: Lin, "Divergence measures based on the
Shannon entropy", IEEE Transactions on Information Theory 37, 1991; in bits it is between 0 and 1.
"""

from dataclasses import dataclass

import numpy as np

from modelyard.metrics import Floats
from modelyard.rollout.sequential import Stream

LEAST = 1e-4
"""A share is taken to be no smaller: an empty bin would be infinitely far from any other."""


@dataclass(frozen=True, slots=True)
class Binned:
    """How often champion and challenger answered in each bin.

    Attributes:
        champion: Counts, one a bin.
        challenger: Counts.
    """

    champion: Floats
    challenger: Floats

    @property
    def more(self) -> Floats:
        """A mask of the bins of which the champion has more."""
        return (_smoothed(self.champion) > _smoothed(self.challenger)).astype(np.float64)

    def streams(self, alpha: float) -> list[Stream]:
        """The share of each bin and then that of `more`, champion's first; all of them together hold with 1 - alpha."""
        bins = len(self.champion)
        # Two versions, and either end: four ways for each share to be wrong.
        alone, joined = alpha / 2 / (4 * bins), alpha / 2 / (4 * 2.0 ** (bins - 1))
        cells = [*((cell, alone) for cell in np.eye(bins)), (self.more, joined)]
        return [
            Stream.of_share(float(counts @ cell), float(counts.sum()), each)
            for counts in (self.champion, self.challenger)
            for cell, each in cells
        ]

    def psi(self) -> float:
        """As measured, half a row added to each bin."""
        p, q = _smoothed(self.champion), _smoothed(self.challenger)
        return float(((p - q) * np.log(p / q)).sum())

    def jensen_shannon(self) -> float:
        """As measured, in bits."""
        p, q = _smoothed(self.champion), _smoothed(self.challenger)
        middle = (p + q) / 2
        return float((p * np.log2(p / middle) + q * np.log2(q / middle)).sum() / 2)

    def interval(self, ends: Floats) -> tuple[float, float]:
        """The ends of PSI from those of the cells' shares, as `streams` ordered them."""
        bins = len(self.champion)
        one, two = ends[: bins + 1], ends[bins + 1 :]
        near, other = _nearest(one, two)
        alone = float(_term(near, other)[:bins].sum())
        joined = float((_term(near, other) + _term(1 - near, 1 - other))[bins])
        most = np.maximum(_term(one[:, 0], two[:, 1]), _term(one[:, 1], two[:, 0]))[:bins]
        return max(alone, joined), float(most.sum())


def _smoothed(counts: Floats) -> Floats:
    found: Floats = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return found


def _term(p: Floats, q: Floats) -> Floats:
    p, q = np.clip(p, LEAST, 1), np.clip(q, LEAST, 1)
    found: Floats = (p - q) * np.log(p / q)
    return found


def _nearest(one: Floats, two: Floats) -> tuple[Floats, Floats]:
    """The two points of each pair of intervals that are nearest to each other; equal where they touch."""
    below, above = one[:, 1] < two[:, 0], two[:, 1] < one[:, 0]
    middle = np.clip((one[:, 0] + one[:, 1]) / 2, two[:, 0], two[:, 1])
    p = np.where(below, one[:, 1], np.where(above, one[:, 0], middle))
    q = np.where(below, two[:, 0], np.where(above, two[:, 1], middle))
    return p, q
