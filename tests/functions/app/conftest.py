"""The function with the app of `tests.fakes.web_app`, over a bucket of its own."""

import gc
import importlib
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from tests.fakes import onnx_models
from tests.fakes.app_function import REFRESH_S, Function
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote


@pytest.fixture
def bucket():
    with HttpBucket() as served:
        yield served


@pytest.fixture
def start(bucket, monkeypatch, tmp_path):
    """Import the function in the environment that Lambda would give it."""
    functions: list[ModuleType] = []
    # A file of our own: pytest's capture loses what a thread writes while it is being read.
    written = tmp_path / "stdout"

    def started(app: str = "tests.fakes.web_app:app", **environment: str) -> Function:
        variables = {
            **bucket.environment,
            "MODELYARD_MODEL": "sums",
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_REFRESH_S": str(REFRESH_S),
            "MODELYARD_APP": app,
            **environment,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for module in ("functions.app", "tests.fakes.web_app"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        functions.append(importlib.import_module("functions.app"))
        return Function(functions[-1], written)

    with written.open("w", buffering=1) as stream:
        monkeypatch.setattr("modelyard.serving.audit.sys", SimpleNamespace(stdout=stream))
        yield started
        gc.enable()  # a start that fails leaves it off
        for function in functions:  # a check under way would fail, and say so, in the middle of the next test
            function.ENDPOINT._follower.wait(10.0)
            function.ENDPOINT._afterwards.flush(10.0)
        for thread in threading.enumerate():  # of starts that failed
            if thread.name == "pointer":
                thread.join(10.0)


@pytest.fixture
def sums(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    return start()
