"""The whole way on one machine: the function, the local SageMaker's runtime, Modelyard's server; at once and later."""

import copy
import importlib
import io
import json
import sys
from typing import Any

import numpy as np
import pytest

from modelyard import async_keys
from modelyard.aws.objects import open_bucket
from modelyard.local.sagemaker_api import LocalEndpoint, LocalSageMaker
from modelyard.server.app import ServerApp
from modelyard.server.settings import ServerSettings
from modelyard.serving.request import NPY
from tests.fakes import onnx_models
from tests.fakes.asgi_server import AsgiServer
from tests.fakes.endpoint import CONTEXT, Answer, EndpointStand, event
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote
from tests.fakes.predict_requests import CONTRACT, MODEL, instances
from tests.fakes.sagemaker_runtime import wait_until
from tests.functions.test_bad_inputs_predict import BAD
from tests.functions.test_invoke import GOOD, same

BUCKET = "artifacts"


@pytest.fixture(scope="module")
def bucket():
    with HttpBucket(BUCKET) as served:
        pointer = promote(served, "weather", MODEL, version=3, revision=1)
        pointer["champion"]["contract"] = CONTRACT
        served.put("deployments/weather.json", json.dumps(pointer).encode())
        promote(served, "sums", onnx_models.row_sum(), version=3, revision=1)
        yield served


@pytest.fixture(scope="module")
def local(bucket, tmp_path_factory):
    """The runtime's API in front of a server of two models, as each of two kinds of endpoint."""
    models = ({"MODELYARD_MODEL": name} for name in ("weather", "sums"))
    environ = {
        **bucket.environment,
        **{f"MODELYARD_MODEL_{number}": json.dumps(model) for number, model in enumerate(models, start=1)},
        "MODELYARD_ARTIFACT_BUCKET": BUCKET,
    }
    app = ServerApp(ServerSettings.read(environ), tmp_path_factory.mktemp("metrics"))
    endpoints = {
        "now": LocalEndpoint(app, "sagemaker-realtime"),
        "later": LocalEndpoint(
            app,
            "sagemaker-async",
            f"s3://{BUCKET}/{async_keys.output_prefix('weather')}",
            f"s3://{BUCKET}/{async_keys.failure_prefix('weather')}",
        ),
    }
    with AsgiServer(LocalSageMaker(endpoints, open_=lambda name: open_bucket(name, bucket.environment))) as served:
        yield served


@pytest.fixture(scope="module")
def stand() -> EndpointStand:
    """The same model on Lambda."""
    return EndpointStand(MODEL, contract=CONTRACT)


@pytest.fixture
def start(bucket, local, monkeypatch):
    started = []

    def make(target: str, model: str = "weather") -> Any:
        variables = {
            **bucket.environment,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": local.url,
            "MODELYARD_MODEL": model,
            "MODELYARD_ARTIFACT_BUCKET": BUCKET,
            "MODELYARD_SAGEMAKER_ENDPOINT": "later" if target == "sagemaker-async" else "now",
            "MODELYARD_TARGET": target,
            "MODELYARD_BASE_PATH": "/base",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "functions.invoke", raising=False)
        started.append(importlib.import_module("functions.invoke"))
        return lambda made: Answer(started[-1].handler(copy.deepcopy(made), CONTEXT))

    yield make
    for module in started:
        wait_until(lambda module=module: bool(module.WAY_IN._runtime._idle))
        module.WAY_IN._runtime.close()


@pytest.mark.parametrize("name", GOOD)
def test_the_servers_answer_is_the_lambda_targets(stand, start, name):
    assert same(start("sagemaker-realtime")(GOOD[name])) == same(stand.send(copy.deepcopy(GOOD[name])))


def test_arrays_go_both_ways_to_the_second_model_of_a_server(start):
    file, ask = io.BytesIO(), start("sagemaker-realtime", "sums")
    np.save(file, np.ones((3, 2), np.float32))
    headers = {"content-type": NPY, "accept": NPY}
    answer = ask(event("POST", "/models/sums/predict", file.getvalue(), headers=headers))
    assert (answer.status, answer.type) == (200, NPY)
    assert np.load(io.BytesIO(answer.content)).ravel().tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("case", BAD)
def test_the_servers_refusal_is_the_lambda_targets_and_leaves_one_line(stand, start, capsys, case):
    ask = start("sagemaker-realtime")
    for made, status, code in BAD[case]:
        capsys.readouterr()
        answer = ask(made)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (answer.status, answer.code) == (status, code)
        assert same(answer) == same(stand.send(copy.deepcopy(made)))
        assert [line["code"] for line in lines if line["kind"] == "audit"] == [code]


def taken(ask: Any, made: Any) -> tuple[str, Any]:
    """The id of a request that is answered later, and the event that asks for its answer."""
    answer = ask(made)
    assert (answer.status, answer.type) == (202, "application/json")
    assert answer.json["status"] == "pending"
    assert answer.headers["location"] == answer.json["status_url"]
    found = answer.json["id"]
    assert answer.json["status_url"] == f"/base/models/weather/predictions/{found}"
    return found, look_at(found)


def look_at(prediction_id: str, model: str = "weather") -> dict[str, Any]:
    made = event("GET", f"/models/{model}/predictions/{prediction_id}")
    made["routeKey"] = f"GET /models/{model}/predictions/{{id}}"
    made["pathParameters"] = {"id": prediction_id}
    return made


def at_last(ask: Any, look: Any) -> Answer:
    found: list[Answer] = []

    def there() -> bool:
        found.append(ask(look))
        return found[-1].status != 202

    wait_until(there)
    return found[-1]


@pytest.mark.parametrize("name", GOOD)
def test_an_asynchronous_answer_is_the_same_but_comes_later(stand, start, name):
    ask = start("sagemaker-async")
    _, look = taken(ask, GOOD[name])
    theirs = stand.send(copy.deepcopy(GOOD[name]))
    assert same(at_last(ask, look)) == same(theirs)
    assert same(ask(look)) == same(theirs)  # and can be read again


def test_a_refused_request_is_refused_when_it_is_looked_at(start, stand, capsys):
    ask = start("sagemaker-async")
    made = instances(size=None)
    _, look = taken(ask, made)
    answer = at_last(ask, look)
    assert (answer.status, answer.code) == (422, "null_not_allowed")
    assert same(answer) == same(stand.send(made))
    capsys.readouterr()
    ask(look)
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["kind"], line["protocol"], line["status"]) == ("audit", "metadata", 422)
    assert line["caller"] == "arn:aws:iam::111122223333:user/forecast-app"


def test_what_nobody_asked_for_is_not_there(start):
    ask = start("sagemaker-async")
    for name in ("0" * 32, "x", "A" * 32, "../jobs/" + "0" * 32, "0" * 31, "0" * 33, ""):
        answer = ask(look_at(name))
        assert (answer.status, answer.code) == (404, "prediction_not_found")


def test_another_models_prediction_is_not_there(start):
    found, _ = taken(start("sagemaker-async"), instances())
    ask = start("sagemaker-async", "sums")
    assert ask(look_at(found, "sums")).code == "prediction_not_found"
    assert ask(look_at(found, "weather")).code == "unknown_model"


def test_where_answers_come_at_once_there_is_nothing_to_look_at(start):
    assert start("sagemaker-realtime")(look_at("0" * 32)).code == "unknown_route"
