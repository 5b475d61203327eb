"""What if: a model's bill on every target for supposed traffic, and which limits bind there."""

from dataclasses import dataclass

from modelyard.errors import UsageError
from modelyard.placement.bill import MILLION, Assumptions, Case, Work
from modelyard.placement.costing import cheapest
from modelyard.placement.known import Known
from modelyard.placement.limits import ACCOUNT_CONCURRENCY, LIMITS, answer_through_url_s, body_through_url
from modelyard.placement.prices import HOURS_OF_A_MONTH, Prices
from modelyard.spec_server import SERVERLESS_MOST, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposition:
    """What somebody supposes; None is what was measured, or what stands in ``model.toml``.

    Attributes:
        requests_per_s: Steady traffic.
        ms: How long a request takes on Lambda.
        cpu_ms: Processor time of it.
        memory_mb: Of the function.
        instance: By its name.
        usd_per_hour: What that instance costs.
        utilisation: Of an instance's processors.
    """

    requests_per_s: float | None = None
    ms: float | None = None
    cpu_ms: float | None = None
    memory_mb: int | None = None
    instance: str | None = None
    usd_per_hour: float | None = None
    utilisation: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A target in the table.

    Attributes:
        target: Its name.
        usd: A month there; None where the model cannot be there.
        million_usd: What a million requests cost of it.
        binds: The limits that count there, as sentences.
    """

    target: Target
    usd: float | None
    million_usd: float | None
    binds: str


@dataclass(frozen=True, slots=True)
class Supposed:
    """What a supposition comes to."""

    case: Case
    requests_per_s: float

    @property
    def rows(self) -> list[Row]:
        """One for each target."""
        requests = self.requests_per_s * 3600 * HOURS_OF_A_MONTH
        found = []
        for target in LIMITS:
            usd = None if self._is_too_slow(target) else self.case.month_usd(target, self.requests_per_s)
            million = None if usd is None else usd / requests * MILLION
            found.append(Row(target, usd, million, self._binds(target)))
        return found

    @property
    def cheapest(self) -> Row | None:
        """The target that costs the least of those whose answer comes with the request; None: there is none."""
        found = [row for row in self.rows if row.usd is not None and not LIMITS[row.target].answers_later]
        return min(found, key=lambda row: row.usd or 0.0, default=None)

    def _is_too_slow(self, target: Target) -> bool:
        return self.case.work.ms > 1000 * answer_through_url_s(target)

    def _binds(self, target: Target) -> str:
        own = {
            "lambda": self._on_lambda,
            "sagemaker-serverless": self._on_serverless,
            "sagemaker-realtime": self._on_realtime,
            "sagemaker-async": self._on_async,
        }[target]()
        slow = f"too slow: {self.case.work.ms / 1000:,.1f} s; " if self._is_too_slow(target) else ""
        answer, body = answer_through_url_s(target), body_through_url(target)
        return f"{slow}{own}; {answer:,} s and {body:,} bytes through the URL"

    def _at_a_time(self, most: int) -> str:
        return f"{self.requests_per_s * self.case.work.ms / 1000:,.1f} of {most:,} requests at a time"

    def _on_lambda(self) -> str:
        work, most = self.case.work, LIMITS["lambda"]
        return f"{work.memory_mb:,} of {most.memory_mb:,} MB; {self._at_a_time(ACCOUNT_CONCURRENCY)}; no GPU"

    def _on_serverless(self) -> str:
        limits = LIMITS["sagemaker-serverless"]
        if self.case.serverless_mb is None:
            return f"needs more than its {limits.memory_mb:,} MB; no GPU"
        return f"{self.case.serverless_mb:,} of {limits.memory_mb:,} MB; {self._at_a_time(SERVERLESS_MOST)}; no GPU"

    def _on_realtime(self) -> str:
        case = self.case
        return (
            f"{case.instances(self.requests_per_s)} x {case.instance.name} at {case.instance.usd_per_hour:g} USD an "
            f"hour, each carries {case.carries:,.1f} requests a second "
            f"(server.invocations_per_instance = {max(1, int(case.carries * 60))})"
        )

    def _on_async(self) -> str:
        return "202 and a status URL, answers through S3; the price as if the work came in one piece"


def supposed(known: Known, what: Supposition, prices: Prices | None = None) -> Supposed:
    """What a supposition comes to, filled up with what is known.

    Raises:
        UsageError: When something is neither supposed nor measured, or a price is missing.
    """
    prices = _prices(prices or Prices(), what)
    usage = known.usage
    ms = what.ms if what.ms is not None else None if usage is None else usage.mean_ms
    rate = what.requests_per_s if what.requests_per_s is not None else None if usage is None else usage.per_s
    if ms is None or rate is None:
        missing = "--ms" if ms is None else "--requests-per-second"
        raise UsageError(
            f"nothing was measured of {known.model} ({known.unmeasured or 'nobody looked'}), so it has to be supposed",
            code="nothing_measured",
            next_step=f"Add {missing}, like 'modelyard place {known.model} --requests-per-second 20 --ms 35'.",
        )
    if rate <= 0:
        raise UsageError(
            "--requests-per-second 0 costs nothing on Lambda, and an instance its price",
            code="no_traffic",
            next_step="Give a number above 0.",
        )
    work = Work(ms, what.memory_mb or known.memory_mb, known.architecture, what.cpu_ms)
    assumptions = Assumptions(least_instances=known.least_instances)
    if what.utilisation is not None:
        assumptions = Assumptions(utilisation=what.utilisation, least_instances=known.least_instances)
    if what.instance is not None:
        return Supposed(Case(work, prices.instance(what.instance), prices, assumptions), rate)
    return Supposed(cheapest(known, prices, assumptions, work, rate), rate)


def _prices(prices: Prices, what: Supposition) -> Prices:
    if what.usd_per_hour is None:
        return prices
    if what.instance is None:
        raise UsageError(
            "--usd-per-hour is the price of an instance, and none is named",
            code="no_instance",
            next_step="Add --instance, like '--instance ml.c5.large'.",
        )
    return prices.with_hourly(what.instance, what.usd_per_hour)
