"""What ``[server]`` of a ``model.toml`` says: the container of a model whose endpoint is on SageMaker.

Every key has a default, so that ``endpoint.target`` is the only line that moves a model. What a key may not be beside
another, and which target knows which key, is in `modelyard.spec_server_rules`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from modelyard import spec_rules
from modelyard.spec_section import Section

Target = Literal["lambda", "sagemaker-serverless", "sagemaker-realtime", "sagemaker-async"]
Kind = Literal["serverless", "realtime", "async"]
ServerlessMemory = Literal[1024, 2048, 3072, 4096, 5120, 6144]

KINDS: dict[Target, Kind] = {
    "sagemaker-serverless": "serverless",
    "sagemaker-realtime": "realtime",
    "sagemaker-async": "async",
}
"""Targets on SageMaker, and what each is called where the rest goes without saying."""
BODY_MB: dict[Kind, int] = {"serverless": 4, "realtime": 25, "async": 1024}
"""Largest request that SageMaker lets in, in MB."""
SERVERLESS_CONCURRENCY, SERVERLESS_MOST = 20, 200
"""Requests at a time of a serverless endpoint: where the spec says nothing, and what SageMaker allows."""
_DEFAULT_BODY_MB = 25


class ServerSection(Section):
    """The container that answers, where the endpoint is on SageMaker."""

    instance: Annotated[str, AfterValidator(spec_rules.instance)] = Field(
        default="ml.m5.large", description="realtime, async: the machine, like 'ml.m5.large' or 'ml.g5.xlarge'."
    )
    min_instances: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="realtime, async: fewest machines; left out, 1, and 0 for async, which then waits for its first "
        "request.",
    )
    max_instances: int = Field(
        default=4, ge=1, le=100, description="realtime, async: most machines: a ceiling on cost."
    )
    invocations_per_instance: int = Field(
        default=3000,
        ge=1,
        le=1_000_000,
        description="realtime: requests a minute of each machine that auto scaling aims at.",
    )
    backlog_per_instance: float = Field(
        default=5.0, gt=0, le=100_000, description="async: waiting requests of each machine that auto scaling aims at."
    )
    memory_mb: ServerlessMemory = Field(default=2048, description="serverless: memory; processors come with it.")
    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="serverless: most requests at a time, 20 if left out, 200 at most; async: of each machine, "
        "SageMaker's choice if left out.",
    )
    provisioned_concurrency: int | None = Field(
        default=None, ge=1, le=200, description="serverless: so many are kept warm, for a price by the hour."
    )
    timeout_s: int = Field(
        default=900, ge=1, le=3600, description="async: deadline of one prediction; others have endpoint.timeout_s."
    )
    workers: int = Field(default=0, ge=0, le=256, description="Worker processes; 0: by the processors there are.")
    threads: int = Field(
        default=0, ge=0, le=256, description="Threads of the engine in each worker; 0: by processors and workers."
    )
    max_batch: int = Field(
        default=64, ge=1, le=10_000, description="Most rows that are predicted together; 1: requests are never joined."
    )
    max_wait_ms: float = Field(
        default=5.0, ge=0, le=1000, description="Longest that a request waits for others to be predicted with."
    )
    models_mb: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="With endpoint.host: memory for loaded models in each worker; the least recently used one makes "
        "room. 0: no limit.",
    )
    queue: int = Field(
        default=256, ge=1, le=100_000, description="Requests that may wait in a worker; the next ones get 429."
    )
    max_body_mb: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Largest body; left out, 4 for serverless and 25 for the others. async may have 1024.",
    )
    providers: list[Literal["cpu", "cuda"]] = Field(
        default=["cpu"],
        min_length=1,
        max_length=2,
        description="What runs the model, the first that can; ['cuda', 'cpu'] makes the image for GPUs.",
    )

    def least_instances(self, kind: Kind) -> int:
        """Fewest machines, also where the spec says nothing."""
        return self.min_instances if self.min_instances is not None else int(kind == "realtime")

    def body_mb(self, kind: Kind) -> int:
        """Largest body in MB, also where the spec says nothing."""
        return self.max_body_mb if self.max_body_mb is not None else min(BODY_MB[kind], _DEFAULT_BODY_MB)

    @property
    def wants_gpu(self) -> bool:
        """Whether the model is to run on a GPU."""
        return "cuda" in self.providers
