"""What AWS asks for an endpoint: list prices of one region and one month, in one table that nothing fetches.

Prices are in USD, of us-east-1, as of November 2026, without free tiers, savings plans, data transfer, logs, the volume
of an instance and taxes. Where each is from:

- Lambda and the CPU instances: `modelyard.retraining.costs`, whose sources are https://aws.amazon.com/lambda/pricing/
  and https://aws.amazon.com/sagemaker/pricing/. An instance costs the same for hosting as for training: AWS's price
  list has ml.m5.xlarge at 0.23 and ml.m5.2xlarge at 0.461 for both.
- Lambda on x86, the first tier: https://aws.amazon.com/lambda/pricing/
- HTTP APIs, the first 300 million requests: https://aws.amazon.com/api-gateway/pricing/
- SageMaker Serverless Inference, by GB and second: https://aws.amazon.com/sagemaker/pricing/
- GPU instances: the price of the EC2 instance and a share of it, 1.4 times for ml.g4dn.xlarge and ml.g5.xlarge, 1.25
  for ml.g5.2xlarge: https://aws.amazon.com/sagemaker/pricing/
- S3: https://aws.amazon.com/s3/pricing/

Lambda and the requests to S3 cost the same in eu-west-1, everything else about an eighth more there, and elsewhere more
still. A user who knows better says so (``--usd-per-hour``).
"""

from dataclasses import dataclass, field, replace

from modelyard.errors import UsageError
from modelyard.instances import has_gpu
from modelyard.retraining.costs import INSTANCE_HOUR, LAMBDA_GB_SECOND, LAMBDA_REQUEST
from modelyard.toml import nearest

LAMBDA_GB_SECOND_X86 = 0.0000166667
HTTP_API_REQUEST = 1.00 / 1_000_000
SERVERLESS_GB_SECOND = 0.0000200
S3_WRITE, S3_READ = 0.005 / 1000, 0.0004 / 1000

_GPU_HOUR = {"ml.g4dn.xlarge": 0.7364, "ml.g5.xlarge": 1.408, "ml.g5.2xlarge": 1.515}
_FAMILIES = ("m5", "c5", "r5", "m7i", "c7i")
"""Of the CPU instances: those that hold their speed. A t3 answers a while with all of a processor and then with a part,
so what one costs says nothing about what one carries."""

HOURS_OF_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine that SageMaker rents by the hour.

    Attributes:
        name: Like ``ml.c5.large``.
        usd_per_hour: Its price.
        vcpus: How many processors it has, as AWS counts them.
        gpu: Whether it has a GPU.
    """

    name: str
    usd_per_hour: float
    vcpus: int
    gpu: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices that a calculation is made with.

    Attributes:
        region: Of which region they are.
        as_of: Of which month they are.
        instances: By name.
        told: Instances whose price the user gave.
    """

    region: str = "us-east-1"
    as_of: str = "November 2026"
    lambda_gb_second: dict[str, float] = field(
        default_factory=lambda: {"arm64": LAMBDA_GB_SECOND, "x86_64": LAMBDA_GB_SECOND_X86}
    )
    lambda_request: float = LAMBDA_REQUEST
    http_api_request: float = HTTP_API_REQUEST
    serverless_gb_second: float = SERVERLESS_GB_SECOND
    s3_write: float = S3_WRITE
    s3_read: float = S3_READ
    instances: dict[str, Instance] = field(default_factory=lambda: _in_the_table())
    told: tuple[str, ...] = ()

    def instance(self, name: str) -> Instance:
        """The instance of that name.

        Raises:
            UsageError: With code ``unknown_price``, when the table has no price for it.
        """
        if name not in self.instances:
            raise UsageError(
                f"the price table has no {name!a}; {nearest(name, self.instances)}",
                code="unknown_price",
                next_step="Add --usd-per-hour with what it costs an hour in your region.",
            )
        return self.instances[name]

    def with_hourly(self, name: str, usd_per_hour: float) -> "Prices":
        """The same prices with this one for an hour of an instance.

        Raises:
            UsageError: With code ``unknown_instance``, when the name does not say how large it is.
        """
        made = Instance(name, usd_per_hour, vcpus_of(name), gpu=has_gpu(name))
        return replace(self, instances={**self.instances, name: made}, told=(*self.told, name))

    @property
    def label(self) -> str:
        """Of where and when they are, for every page and line that shows one."""
        told = f"; {', '.join(self.told)} as you said" if self.told else ""
        return f"list prices of {self.region}, {self.as_of}{told}"


def vcpus_of(instance: str) -> int:
    """How many processors an instance has, by the size in its name.

    Raises:
        UsageError: With code ``unknown_instance``.

    Example:
        >>> vcpus_of("ml.c5.large"), vcpus_of("ml.m5.4xlarge")
        (2, 16)
    """
    parts = instance.split(".")
    size = parts[-1] if len(parts) == 3 and parts[0] == "ml" else ""
    factor = size.removesuffix("xlarge")
    if size in ("medium", "large"):
        return 2
    if size == "xlarge":
        return 4
    if size != factor and factor.isdecimal() and 0 < int(factor) <= 64:
        return 4 * int(factor)
    raise UsageError(
        f"{instance!a} is no instance whose size is known, like 'ml.c5.large' or 'ml.m5.2xlarge'",
        code="unknown_instance",
        next_step="Give --instance as SageMaker names it.",
    )


def _in_the_table() -> dict[str, Instance]:
    return {
        name: Instance(name, usd, vcpus_of(name), gpu=has_gpu(name))
        for name, usd in (INSTANCE_HOUR | _GPU_HOUR).items()
        if has_gpu(name) or name.split(".")[1] in _FAMILIES
    }
