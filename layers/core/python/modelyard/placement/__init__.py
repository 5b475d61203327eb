"""Where should a model run: on Lambda, or on SageMaker, and why.

::

    spec, folder, layers, live version, audit metrics ──► Known       known.py
    Known ──► findings about limits                                  fitting.py, limits.py
    Known, prices ──► a finding about cost                           costing.py, bill.py, prices.py
    findings ──► "stays" or "should move to", each with its lines    judged, below

The rule: pure logic. Nothing here asks AWS or the clock; prices and limits are tables with a date. Every finding
carries its arithmetic as text, so that whoever doubts it can do it again. Runs on the developer's machine only.
"""

from dataclasses import dataclass

from modelyard.placement.bill import Assumptions, BreakEven, Case, Work, break_even
from modelyard.placement.costing import cost
from modelyard.placement.finding import Finding
from modelyard.placement.fitting import fitting
from modelyard.placement.known import Hour, Known, Usage, known_of, usage_of
from modelyard.placement.prices import Prices
from modelyard.placement.supposing import Supposed, Supposition, supposed
from modelyard.spec_server import Target

__all__ = [
    "Assumptions",
    "BreakEven",
    "Case",
    "Finding",
    "Hour",
    "Judgement",
    "Known",
    "Prices",
    "Supposed",
    "Supposition",
    "Target",
    "Usage",
    "Work",
    "break_even",
    "fitting",
    "judged",
    "known_of",
    "supposed",
    "usage_of",
]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where a model should run.

    Attributes:
        known: What that rests on.
        findings: About limits first, about cost last.
        unknown: What would have to be known for more.
    """

    known: Known
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]

    @property
    def move_to(self) -> Target | None:
        """Where the model should run instead; a limit weighs more than money."""
        return next((finding.move_to for finding in self.findings if finding.move_to is not None), None)

    @property
    def headline(self) -> str:
        """The judgement in a few words."""
        if self.move_to is None:
            return f"stays on {self.known.target}"
        return f'should move: endpoint.target = "{self.move_to}"'


def judged(known: Known, prices: Prices | None = None, *, supposed: bool = False) -> Judgement:
    """Judge where a model should run, by limits and, unless traffic is supposed, by cost."""
    assumptions = Assumptions(least_instances=known.least_instances)
    of_cost = None if supposed else cost(known, prices or Prices(), assumptions)
    findings = (*fitting(known), *(() if of_cost is None else (of_cost,)))
    return Judgement(known, findings, tuple(_unknown(known, supposed=supposed)))


def _unknown(known: Known, *, supposed: bool) -> list[str]:
    found = []
    if known.usage is None and not supposed:
        found.append(f"latency and traffic: {known.unmeasured or 'nobody looked'}")
    if known.artifact_bytes is None:
        found.append("the size of the model file: nothing is live")
    if known.code_bytes is None and known.target == "lambda":
        found.append("the size of its layers: run 'modelyard build'")
    if known.row_bytes is None:
        found.append("the size of a request: the model has no model.example")
    return found
