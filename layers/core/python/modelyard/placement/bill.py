"""What a request and a month cost on each target, and the traffic from which an instance is cheaper. Pure arithmetic.

    Lambda              request + ms x GB x price
    every other target  the way in (request + its waiting x GB x price), and beside it
      serverless        ms x GB x price
      realtime          instances x price an hour, used or not
      async             the same as if its work came in one piece, and S3 in and out

The rule: every number that goes into a sum is shown in a line of text beside it. What nobody measured here is an
assumption, is named so, and can be given by the user.
"""

import math
from dataclasses import dataclass

from modelyard.placement.limits import SERVERLESS_MEMORY_MB
from modelyard.placement.prices import HOURS_OF_A_MONTH, Instance, Prices
from modelyard.predictor.threads import MB_PER_VCPU, threads_for
from modelyard.spec_server import Target

MILLION = 1_000_000
MB_PER_GB = 1024


@dataclass(frozen=True, slots=True)
class Work:
    """One request, as Lambda answers it.

    Attributes:
        ms: How long the function takes.
        memory_mb: The function's memory.
        architecture: Its processor.
        cpu_ms: Milliseconds of one processor in it; None: as if every thread of the engine worked all the time, which
            is the most that it can be.
    """

    ms: float
    memory_mb: int
    architecture: str = "arm64"
    cpu_ms: float | None = None

    @property
    def busy(self) -> float:
        """How many processors work at most while it is answered: those that are paid, as far as there are threads."""
        return min(self.memory_mb / MB_PER_VCPU, threads_for(self.memory_mb))

    @property
    def processor_ms(self) -> float:
        """Milliseconds of one processor."""
        return self.ms * self.busy if self.cpu_ms is None else self.cpu_ms


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the arithmetic takes without having measured it.

    Attributes:
        utilisation: How much of an instance's processors may be in use: above it, requests wait for each other.
        way_in_mb: Memory of the function in front of a SageMaker endpoint, which waits for its answer and is paid.
        hop_ms: What the way from that function to the endpoint and back adds.
        least_instances: How many instances there are however little they do.
    """

    utilisation: float = 0.6
    way_in_mb: int = 512
    hop_ms: float = 10.0
    least_instances: int = 1


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a bill is computed from."""

    work: Work
    instance: Instance
    prices: Prices
    assumptions: Assumptions

    @property
    def carries(self) -> float:
        """Requests a second of one instance."""
        return self.instance.vcpus * self.assumptions.utilisation * 1000 / self.work.processor_ms

    def instances(self, requests_per_s: float) -> int:
        """How many instances that takes."""
        return max(self.assumptions.least_instances, math.ceil(requests_per_s / self.carries))

    @property
    def lambda_usd(self) -> float:
        """What one request costs on Lambda, without the HTTP API."""
        return self._function_usd(self.work.ms, self.work.memory_mb, self.work.architecture)

    @property
    def way_in_usd(self) -> float:
        """What the function in front of an endpoint costs for one request, without the HTTP API."""
        return self._function_usd(self.work.ms + self.assumptions.hop_ms, self.assumptions.way_in_mb, "arm64")

    @property
    def async_usd(self) -> float:
        """What one request costs that is answered later: handed over, asked for once, in and out of S3."""
        once = self._function_usd(self.assumptions.hop_ms, self.assumptions.way_in_mb, "arm64")
        return 2 * once + 2 * (self.prices.s3_write + self.prices.s3_read)

    @property
    def serverless_mb(self) -> int | None:
        """The smallest memory of SageMaker's that is no less than the function's; None: there is none."""
        return next((size for size in SERVERLESS_MEMORY_MB if size >= self.work.memory_mb), None)

    @property
    def serverless_usd(self) -> float | None:
        """What one request costs on SageMaker Serverless, the way in included."""
        if self.serverless_mb is None:
            return None
        seconds, gb = self.work.ms / 1000, self.serverless_mb / MB_PER_GB
        return self.way_in_usd + seconds * gb * self.prices.serverless_gb_second

    def month_usd(self, target: Target, requests_per_s: float) -> float | None:
        """USD for a month of steady traffic, the HTTP API included; None where the target cannot do it."""
        requests = requests_per_s * 3600 * HOURS_OF_A_MONTH
        hour = self.instance.usd_per_hour * HOURS_OF_A_MONTH
        api = self.prices.http_api_request
        if target == "lambda":
            return requests * (self.lambda_usd + api)
        if target == "sagemaker-serverless":
            return None if self.serverless_usd is None else requests * (self.serverless_usd + api)
        if target == "sagemaker-realtime":
            return requests * (self.way_in_usd + api) + self.instances(requests_per_s) * hour
        return requests * (self.async_usd + 2 * api) + requests_per_s / self.carries * hour

    def _function_usd(self, ms: float, memory_mb: int, architecture: str) -> float:
        gb_seconds = ms / 1000 * memory_mb / MB_PER_GB
        return self.prices.lambda_request + gb_seconds * self.prices.lambda_gb_second[architecture]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where an instance begins to cost less than Lambda.

    Attributes:
        case: What it is of.
        saved_usd: What a request costs less: Lambda's price without that of the way in, which stays.
        requests_per_s: From how many requests a second; None: never, however many there are.
        why_never: One sentence, where there is no such traffic.
    """

    case: Case
    saved_usd: float
    requests_per_s: float | None
    why_never: str = ""

    @property
    def lines(self) -> list[str]:
        """The arithmetic."""
        return [*_price_lines(self.case), *self._ending()]

    def _ending(self) -> list[str]:
        case, name = self.case, self.case.instance.name
        if self.requests_per_s is None:
            return [f"break-even: none. {self.why_never}"]
        least, saved = case.assumptions.least_instances, self.saved_usd * MILLION
        return [
            f"break-even: {least} x {case.instance.usd_per_hour:g} USD / 3,600 s / {saved:.3f} USD saved a million = "
            f"{self.requests_per_s:,.1f} requests a second on {name}"
        ]


def break_even(case: Case) -> BreakEven:
    """The steady traffic from which instances cost less than Lambda.

    Just above what a number of instances carries, one more is needed and Lambda may be cheaper again for a while.
    """
    saved = case.lambda_usd - case.way_in_usd
    if saved <= 0:
        return BreakEven(case, saved, None, "The way in alone costs as much as Lambda does.")
    one = case.instance.usd_per_hour / 3600 / saved
    if one > case.carries:
        why = f"One instance would have to answer {one:,.1f} requests a second, and carries {case.carries:,.1f}."
        return BreakEven(case, saved, None, why)
    return BreakEven(case, saved, one * case.assumptions.least_instances)


def _price_lines(case: Case) -> list[str]:
    work, prices, assumed, instance = case.work, case.prices, case.assumptions, case.instance
    request = f"{prices.lambda_request * MILLION:.2f}"
    price, way_in_price = prices.lambda_gb_second[work.architecture], prices.lambda_gb_second["arm64"]
    busy = (
        f"as if {work.busy:.2f} vCPUs worked {work.ms:,.1f} ms"
        if work.cpu_ms is None
        else "of a processor, as you said"
    )
    return [
        f"Lambda: {request} + {work.ms:,.1f} ms x {work.memory_mb:,}/1,024 GB x {price:.10f} x 1,000 = "
        f"{case.lambda_usd * MILLION:.3f} USD a million requests ({work.architecture})",
        f"way in: {request} + ({work.ms:,.1f} + {assumed.hop_ms:g}) ms x {assumed.way_in_mb:,}/1,024 GB x "
        f"{way_in_price:.10f} x 1,000 = {case.way_in_usd * MILLION:.3f} USD a million requests",
        f"{instance.name}: {instance.vcpus} vCPUs x {assumed.utilisation:.0%} / {work.processor_ms:,.1f} ms ({busy}) = "
        f"{case.carries:,.1f} requests a second",
    ]
