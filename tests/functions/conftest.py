"""Endpoints that several modules of this folder ask, each with both engines."""

import pytest

from tests.fakes import onnx_models
from tests.fakes.endpoint import EndpointStand
from tests.fakes.predict_requests import CONTRACT, ENGINES, MODEL


@pytest.fixture(scope="module", params=ENGINES)
def stand(request: pytest.FixtureRequest) -> EndpointStand:
    """The model that `tests.fakes.predict_requests` is about, with its contract."""
    return EndpointStand(MODEL, engine=request.param, contract=CONTRACT)


@pytest.fixture(scope="module", params=ENGINES)
def sums(request: pytest.FixtureRequest) -> EndpointStand:
    """A model that adds up two numbers."""
    return EndpointStand(onnx_models.row_sum(), engine=request.param)
