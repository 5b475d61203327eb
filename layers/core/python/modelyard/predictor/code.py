"""A model's own code: ``preprocess`` and ``postprocess`` of the package that its spec names.

The rule: own code may refuse a request with `RequestError`; whatever else it raises is the model's failure, and what it
returns is checked like a stranger's answer, so that no mistake there reaches a caller as invalid JSON or a traceback.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from modelyard.errors import ModelError, ModelyardError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.decode import not_finite
from modelyard.predictor.signature import Tensor

Preprocess = Callable[[list[Any]], dict[str, Any]]
Postprocess = Callable[[dict[str, Any]], list[Any]]

_NEXT_STEP = "Fix the model's package and deploy it; the function's log holds the cause."


class ModelCode:
    """The hooks of one package; a hook that the package lacks is ``None``."""

    __slots__ = ("package", "postprocess", "preprocess")

    def __init__(
        self, package: str, preprocess: Preprocess | None = None, postprocess: Postprocess | None = None
    ) -> None:
        self.package = package
        self.preprocess = preprocess
        self.postprocess = postprocess

    @classmethod
    def load(cls, package: str) -> "ModelCode":
        """Import ``package`` and take its hooks.

        Raises:
            ModelError: When it cannot be imported, or has neither hook (code ``code_not_loadable``).
        """
        try:
            module = importlib.import_module(package)
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"the model's package {package!r} cannot be imported: {error}",
                code="code_not_loadable",
                next_step=_NEXT_STEP,
            ) from error
        hooks = [getattr(module, name, None) for name in ("preprocess", "postprocess")]
        if not any(map(callable, hooks)):
            raise ModelError(
                f"the model's package {package!r} has neither preprocess nor postprocess",
                code="code_not_loadable",
                next_step=_NEXT_STEP,
            )
        return cls(package, *hooks)

    def arrays(self, inputs: tuple[Tensor, ...], instances: list[Any]) -> list[Array]:
        """Call ``preprocess`` and check what it gives against the signature; one array for each input.

        Raises:
            RequestError: That the hook raised.
            ModelError: For anything else it raised, and for arrays that do not fit.
        """
        if self.preprocess is None:  # pragma: no cover - the predictor asks first
            raise ModelError(f"{self.package}.preprocess is missing")
        feeds = self._call("preprocess", self.preprocess, instances)
        names = {tensor.name for tensor in inputs}
        if not isinstance(feeds, dict) or feeds.keys() != names:
            found = sorted(map(str, feeds)) if isinstance(feeds, dict) else type(feeds).__name__
            raise self._wrong("preprocess", f"returned {found}; it must return a dict of arrays for {sorted(names)}")
        for tensor in inputs:
            array = feeds[tensor.name]
            if not isinstance(array, np.ndarray) or not _fits(tensor, array, len(instances)):
                found = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
                wanted = f"{tensor.dtype}{[len(instances), *tensor.shape[1:]]}"
                raise self._wrong("preprocess", f"returned {found} for {tensor.name!r}; the model takes {wanted}")
        return [from_numpy(feeds[tensor.name]) for tensor in inputs]

    def answers(self, outputs: tuple[Tensor, ...], found: list[Any], rows: int) -> list[Any]:
        """Call ``postprocess`` and check that it gives one JSON value for each row.

        NaN and Infinity never reach the hook: the largest of several NaNs would be an answer.

        Raises:
            RequestError: That the hook raised.
            ModelError: For anything else it raised, and for an answer that is not JSON.
        """
        if self.postprocess is None:  # pragma: no cover - the predictor asks first
            raise ModelError(f"{self.package}.postprocess is missing")
        given = {
            tensor.name: _finite(tensor.name, to_numpy(output)) if isinstance(output, Array) else output
            for tensor, output in zip(outputs, found, strict=True)
        }
        answers = self._call("postprocess", self.postprocess, given)
        if not isinstance(answers, list) or len(answers) != rows:
            returned = f"a list of {len(answers)}" if isinstance(answers, list) else type(answers).__name__
            raise self._wrong("postprocess", f"returned {returned}; it must return a list of {rows}")
        try:
            return [_plain(answer, row) for row, answer in enumerate(answers)]
        except TypeError as error:
            raise self._wrong("postprocess", f"returned {error}, which JSON has no form for") from error
        except RecursionError as error:
            raise self._wrong("postprocess", "returned what nests too deep, or holds itself") from error

    def _call(self, name: str, hook: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return hook(argument)
        except RequestError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"the model's own {name} raised", next_step="Look for the request id in the function's log."
            ) from error

    def _wrong(self, hook: str, problem: str) -> ModelyardError:
        return ModelError(f"{self.package}.{hook} {problem}", code="wrong_code", next_step=_NEXT_STEP)


def _fits(tensor: Tensor, array: Any, rows: int) -> bool:
    # onnxruntime takes strings as objects or as numpy's fixed-width text.
    same_dtype = array.dtype.kind in "OU" if tensor.dtype == "string" else array.dtype.name == tensor.dtype
    sizes = (rows, *tensor.shape[1:])
    return (
        same_dtype
        and array.ndim == len(sizes)
        and all(size in (None, length) for size, length in zip(sizes, array.shape, strict=True))
    )


def _finite(name: str, array: Any) -> Any:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise not_finite(name, int(np.argwhere(~np.isfinite(array))[0][0]))
    return array.copy()  # a hook may write into it


def _plain(value: Any, row: int) -> Any:
    """The value with numpy's scalars and arrays as plain JSON values.

    Raises:
        TypeError: Naming a type that JSON has no form for.
        ModelError: For NaN and Infinity.
    """
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise ModelError(
                f"the answer for instance {row} holds {value}, which JSON has no form for", code="not_finite", row=row
            )
        return value
    if kind in (str, int, bool) or value is None:
        return value
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise TypeError(f"a key of type {type(key).__name__}")
        return {key: _plain(part, row) for key, part in value.items()}
    if kind in (list, tuple):
        return [_plain(part, row) for part in value]
    if isinstance(value, np.generic | np.ndarray):
        found = value.tolist()
        if type(found) is not kind:  # else, as of a longdouble, there is nothing plainer
            return _plain(found, row)
    raise TypeError(f"a {kind.__name__}")
