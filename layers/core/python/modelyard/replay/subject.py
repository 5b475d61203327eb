"""What the two processes of a replay tell each other: which version answers, and what it answered."""

from typing import Any, Literal

import msgspec


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers, and within which bounds.

    Attributes:
        model: Name of the model.
        path: The ONNX file.
        digest: SHA-256 of its bytes, in hex.
        size: Their number.
        signature: What it takes and gives, in JSON form.
        contract: What its values must be, in JSON form.
        engine: What runs it.
        memory_mb: Of the endpoint's function; decides the number of threads.
        code: Package with the model's own hooks.
        code_folder: Where that is imported from.
        address_mb: Address space that the process has.
        limit_s: Longest run of the engine; what takes longer is ended in its place.
        budget_ms: Mean time of its runs beyond which it is given up.
        budget_mb: Growth of the process beyond which it is given up.
    """

    model: str
    path: str
    digest: str
    size: int
    signature: dict[str, Any]
    contract: dict[str, Any] | None = None
    engine: Literal["lean", "standard"] = "standard"
    memory_mb: int = 1769
    code: str | None = None
    code_folder: str | None = None
    address_mb: int = 4096
    limit_s: float = 2.0
    budget_ms: float = 200.0
    budget_mb: float = 128.0


class Failure(msgspec.Struct, frozen=True):
    """Why something was not answered: a code as the endpoint has it, and words."""

    code: str
    message: str


class Loaded(msgspec.Struct, frozen=True):
    """A version is ready.

    Attributes:
        failed: Why it is not.
        nulls: Inputs that may be missing, and sometimes are.
        has_preprocess: Whether its own code makes its inputs, so that nobody knows what may be null.
    """

    failed: Failure | None = None
    nulls: tuple[str, ...] = ()
    has_preprocess: bool = False


class Answered(msgspec.Struct, frozen=True):
    """What came of one request, as a shadow's part of a captured record.

    Attributes:
        shadow: ``version``, ``predictions``, ``code``, ``message``, ``latency_ms``.
        process: ``id``, ``rss_mb``, ``shadow_rss_mb``, ``dropped``.
        given_up: That the endpoint would give it up here, and why.
    """

    shadow: dict[str, Any]
    process: dict[str, Any]
    given_up: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        """Why there are no predictions."""
        code = self.shadow.get("code")
        return None if code is None else Failure(str(code), str(self.shadow.get("message") or ""))
