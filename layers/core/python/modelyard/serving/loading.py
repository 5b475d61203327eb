"""From a version that the pointer names to a predictor: which engine, and which form of the model.

What a request never needs is imported here late: the lean engine needs no numpy, and only a model with code of its own
needs that code's machinery.
"""

from typing import TYPE_CHECKING

from modelyard.contract.document import parse as parse_contract
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.threads import threads_for
from modelyard.serving.pointer import Deployed
from modelyard.serving.settings import EndpointSettings

if TYPE_CHECKING:
    from modelyard.predictor.code import ModelCode


class Loader:
    """Makes predictors for one function's settings."""

    __slots__ = ("_settings",)

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        """Import what loading needs, so that it is there when the bytes arrive."""
        if self._settings.engine == "lean":
            from modelyard.predictor import lean  # noqa: F401
        else:
            from modelyard.predictor import standard  # noqa: F401

    def __call__(self, model: bytes, deployed: Deployed) -> Predictor:
        """The predictor for a version.

        Raises:
            ModelyardError: When the model or its own code does not load.
        """
        settings = self._settings
        return Predictor.load(
            model,
            signature=deployed.signature,
            contract=None if deployed.contract is None else parse_contract(deployed.contract),
            code=self._code(),
            engine=settings.engine,
            threads=threads_for(settings.memory_mb),
        )

    def _code(self) -> "ModelCode | None":
        if self._settings.code is None:
            return None
        from modelyard.predictor.code import ModelCode

        return ModelCode.load(self._settings.code)
