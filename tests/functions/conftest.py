"""Endpoints that several modules of this folder ask: with both engines, and as Lambda runs them."""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import modelyard  # noqa: F401 - before onnxruntime, which it keeps from calling anybody outside
from tests.fakes import onnx_models
from tests.fakes.endpoint import EndpointStand
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.predict_requests import CONTRACT, ENGINES, MODEL

REFRESH_S = 0.2


@pytest.fixture
def bucket() -> Iterator[HttpBucket]:
    """Where pointers, models and what an endpoint writes lie."""
    with HttpBucket() as served:
        yield served


@pytest.fixture
def start(bucket: HttpBucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Import the function in the environment that Lambda would give it."""
    functions: list[ModuleType] = []

    def started(model: str, **environment: str) -> ModuleType:
        variables = {
            **bucket.environment,
            "MODELYARD_MODEL": model,
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_REFRESH_S": str(REFRESH_S),
            **environment,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "functions.predict", raising=False)
        functions.append(importlib.import_module("functions.predict"))
        return functions[-1]

    yield started
    for function in functions:  # a check under way would fail, and say so, in the middle of the next test
        function.ENDPOINT._follower.wait(10.0)


@pytest.fixture(scope="module", params=ENGINES)
def stand(request: pytest.FixtureRequest) -> EndpointStand:
    """The model that `tests.fakes.predict_requests` is about, with its contract."""
    return EndpointStand(MODEL, engine=request.param, contract=CONTRACT)


@pytest.fixture(scope="module", params=ENGINES)
def sums(request: pytest.FixtureRequest) -> EndpointStand:
    """A model that adds up two numbers."""
    return EndpointStand(onnx_models.row_sum(), engine=request.param)
