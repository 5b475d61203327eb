"""A server as a process, asked over HTTP: what it answers beside the table of bad inputs, how it starts and ends."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from modelyard.serving.request import ARROW, NPY
from tests.fakes import onnx_models
from tests.fakes.predict_requests import CONTRACT, EVERY, MODEL, headed, npy
from tests.fakes.served import ATTRIBUTES, WAYS, ServedStand

CSV = {"content-type": "text/csv"}


@pytest.fixture(scope="module")
def one() -> Iterator[ServedStand]:
    """One model, in two workers."""
    with ServedStand({"sums": onnx_models.row_sum()}, SERVER_WORKERS=2) as started:
        yield started


@pytest.fixture(scope="module")
def several() -> Iterator[ServedStand]:
    """Three models, of which one has no version."""
    models = {"sums": onnx_models.row_sum(), "weather": MODEL, "none": None}
    with ServedStand(models, contracts={"weather": CONTRACT}) as started:
        yield started


def invoke(stand: ServedStand, body: bytes | str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """SageMaker's route without the way in, as any client of the endpoint asks it."""
    raw = body.encode() if isinstance(body, str) else body
    return stand.ask("POST", "/invocations", raw, {key.replace("_", "-"): value for key, value in headers.items()})


def problem(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    status, headers, body = answer
    found = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert found["status"] == status
    return status, found["code"]


# -- a plain client of SageMaker's ------------------------------------------------------------------------------------


def test_a_plain_client_gets_the_only_models_prediction_and_plain_statuses(one: ServedStand) -> None:
    status, headers, body = invoke(one, '{"instances": [[1, 2]]}', content_type="application/json")
    assert (status, json.loads(body)["predictions"], ATTRIBUTES in headers) == (200, [3.0], False)
    assert problem(invoke(one, "{", content_type="application/json")) == (400, "invalid_json")
    assert problem(invoke(one, "", content_type="application/json")) == (400, "empty_body")
    assert problem(invoke(one, "1", content_type="text/html")) == (415, "unsupported_media_type")
    assert problem(one.ask("GET", "/invocations")) == (405, "method_not_allowed")


@pytest.mark.parametrize("attributes", ["", "c", "{}", '{"route":1}'])
def test_attributes_of_somebody_else_are_not_the_way_ins(one: ServedStand, attributes: str) -> None:
    headers = {"content-type": "application/json", ATTRIBUTES: attributes}
    status, came, body = one.ask("POST", "/invocations", b'{"instances": [[1, 2]]}', headers)
    assert (status, json.loads(body)["predictions"], ATTRIBUTES in came) == (200, [3.0], False)


def test_a_server_of_several_models_wants_to_know_which(several: ServedStand) -> None:
    several.audits()
    assert problem(invoke(several, '{"instances": [[1, 2]]}', content_type="application/json")) == (
        404,
        "unknown_model",
    )
    (line,) = several.audits()
    assert (line["model"], line["status"]) == ("unknown", 404)


def test_csv_comes_in_and_goes_out(one: ServedStand) -> None:
    one.audits()
    status, headers, body = invoke(one, "1,2\r\n3,4.5\n", content_type="text/csv; charset=utf-8", accept="text/csv")
    assert (status, headers["content-type"], body) == (200, "text/csv", b"3.0\n7.5\n")
    (line,) = one.audits()
    assert (line["protocol"], line["instances"], line["code"]) == ("csv", 2, "ok")
    status, headers, body = invoke(one, "1,2\n", **{"content-type": "text/csv"})
    assert (status, json.loads(body)["predictions"]) == (200, [3.0])
    assert invoke(one, '{"instances": [[1, 2]]}', content_type="application/json", accept="text/csv")[2] == b"3.0\n"
    assert invoke(one, "1,2\n", accept="application/json, text/csv;q=0", **CSV)[1]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "code"),
    [("1,x\n", "wrong_type"), ("1\n", "wrong_shape"), ("1,2,3\n", "wrong_shape"), ('"1,2\n', "invalid_csv"),
     ("", "empty_batch"), ("1,NaN\n", "wrong_type"), ("1,inf\n", "wrong_type"), ("1,1e400\n", "wrong_type"),
     ("1,\n", "wrong_type"), ("1,1_0\n", "wrong_type"), (b"\xff\n", "invalid_csv"),
     ("1,2\n" * 10_001, "batch_too_large"), ("1," + "1" * 30 + "e30\n", "out_of_range")],
)  # fmt: skip
def test_what_is_wrong_with_csv_is_a_problem_with_a_line(one: ServedStand, body: Any, code: str) -> None:
    one.audits()
    status, found = problem(invoke(one, body, content_type="text/csv", accept="text/csv"))
    assert (found, status) == (code, 413 if code == "batch_too_large" else 400)
    (line,) = one.audits()
    assert (line["code"], line["protocol"]) == (code, "csv")


@pytest.mark.parametrize("accept", [f"text/csv, {NPY}", f"{ARROW}, text/csv"])
def test_another_form_that_is_accepted_as_well_is_not_made_csv(one: ServedStand, accept: str) -> None:
    status, headers, _ = invoke(one, "1,2\n", content_type="text/csv", accept=accept)
    assert (status, headers["content-type"] in (NPY, ARROW)) == (200, True)


def test_csv_of_a_model_without_a_version_is_503() -> None:
    with ServedStand({"sums": None}) as stand:
        assert problem(invoke(stand, "1,2\n", content_type="text/csv")) == (503, "no_deployment")


def test_large_csv_holds_nobody_up() -> None:
    with ServedStand({"sums": onnx_models.highest("float32", width=100)}) as stand:
        text = ("1.5," * 99 + "2\n") * 9_999
        found: list[tuple[int, bytes]] = []

        def ask() -> None:
            connection = stand.connect()
            connection.request("POST", "/invocations", text.encode(), CSV | {"accept": "text/csv"})
            response = connection.getresponse()
            found.append((response.status, response.read()))
            connection.close()

        began = time.monotonic()
        slowest = stand.slowest_meanwhile(ask)
        assert slowest < 0.8 * (time.monotonic() - began)
        assert found == [(200, b"2.0\n" * 9_999)]


def test_the_answer_of_a_request_to_s3_brings_its_status(one: ServedStand) -> None:
    told = {"route": "POST /models/sums/predict", "async": 1}
    for body, status, kind in (
        (b'{"instances": [[1, 2]]}', 200, "application/json"), (b"{", 400, "application/problem+json"),
    ):  # fmt: skip
        headers = {"content-type": "application/json", ATTRIBUTES: json.dumps(told)}
        seen, came, content = one.ask("POST", "/invocations", body, headers)
        first, _, rest = content.partition(b"\n")
        assert (seen, came["content-type"], ATTRIBUTES in came) == (200, "application/octet-stream", False)
        assert json.loads(first) == {"status": status, "content_type": kind, "h": {}}
        assert json.loads(rest)["status" if status == 400 else "predictions"] in (400, [3.0])


# -- what belongs to no model -----------------------------------------------------------------------------------------


def test_the_server_names_itself_and_its_models(several: ServedStand) -> None:
    found = several.get("/v2").json
    assert (found["name"], found["models"]) == ("modelyard", ["sums", "weather", "none"])
    assert several.get("/v2/health/live").json == {"live": True}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/elsewhere"), ("GET", "/models"), ("POST", "/v2"), ("GET", "/v2/"), ("DELETE", "/metrics"),
     ("GET", "/docs"), ("PROPFIND", "/x"), ("TRACE", "/v2"), ("OPTIONS", "/ping/x"), ("GET", "/v2/health")],
)  # fmt: skip
def test_what_is_no_route_of_the_servers_is_a_problem_too(one: ServedStand, method: str, path: str) -> None:
    answer = one.ask(method, path)
    assert problem(answer) == (404, "unknown_route")
    assert ("error" in json.loads(answer[2])) == path.startswith("/v2")


def samples(stand: ServedStand) -> dict[str, float]:
    """What one of the workers says, on a connection of its own."""
    connection = stand.connect()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+\{[^}]*\}) (\S+)$", text, re.MULTILINE)}


def test_metrics_are_sums_over_the_workers() -> None:
    with ServedStand({"sums": onnx_models.row_sum()}, SERVER_WORKERS=2) as stand:
        for _ in range(40):
            connection = stand.connect()
            connection.request("POST", "/models/sums/predict", '{"instances": [[1, 2], [3, 4]]}',
                               {"content-type": "application/json"})  # fmt: skip
            assert connection.getresponse().read()
            connection.close()
        assert stand.predict(["x", 1]).status == 400
        assert stand.get("/models/other/openapi.json").status == 404
        ends, found = time.monotonic() + 15, {}
        while time.monotonic() < ends and found.get('modelyard_requests_total{model="sums",status="200"}') != 40:
            time.sleep(0.1)  # each tells the other every few seconds
            found = samples(stand)
        assert found['modelyard_requests_total{model="sums",status="200"}'] == 40
        assert found['modelyard_requests_total{model="sums",status="400"}'] == 1
        assert found['modelyard_requests_total{model="unknown",status="404"}'] == 1
        assert found['modelyard_instances_total{model="sums"}'] == 80
        assert found['modelyard_request_duration_seconds_count{model="sums"}'] == 41
        assert found['modelyard_request_duration_seconds_bucket{model="sums",le="+Inf"}'] == 41


# -- several models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_each_model_answers_at_its_own_route(several: ServedStand, way: str) -> None:
    assert several.predict([1, 2], model="sums", way=way).json["predictions"] == [3.0]
    for made in EVERY.values():
        assert several.send(made, way).status == 200
    answer = several.predict([1, 2], model="none", way=way)
    assert (answer.status, answer.code) == (503, "no_deployment")


def test_models_are_loaded_when_they_are_asked_for_and_let_go_of_for_others() -> None:
    names = [f"m{number}" for number in range(4)]
    models = {name: onnx_models.row_sum(number) for number, name in enumerate(names)}
    with ServedStand(models, MEMORY_MB=1) as stand:
        for name in names * 2:
            assert stand.predict([0, 0], model=name).json["predictions"] == [float(names.index(name))]
        events = [(line["event"], line.get("model")) for line in stand.lines() if line["kind"] == "event"]
    loaded = [model for event, model in events if event == "version_live"]
    assert loaded == names * 2
    assert [model for event, model in events if event == "model_let_go"] == (names * 2)[:-1]


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_body_is_held_to_its_limit_in_each_way(chunked: bool, more: int, way: str) -> None:
    limit = 4096
    body = b'{"instances": [[1, 2]]}'.ljust(limit + more)
    headers = {"content-type": "application/json"}
    path = "/models/sums/predict"
    if way == "sagemaker":
        path, headers = "/invocations", headers | {ATTRIBUTES: json.dumps({"route": "POST /models/sums/predict"})}
    with small() as stand:
        sent: Any = iter([body[:1000], body[1000:]]) if chunked else body
        stand.connection.request("POST", path, sent, headers, encode_chunked=chunked)
        response = stand.connection.getresponse()
        said = json.loads(response.getheader(ATTRIBUTES, "{}")).get("status", response.status)
        found = json.loads(response.read())
        assert said == (413 if more > 0 else 200)
        assert found.get("code", "ok") == ("body_too_large" if more > 0 else "ok")


STANDS = contextlib.ExitStack()
SMALL: list[ServedStand] = []


@contextlib.contextmanager
def small() -> Iterator[ServedStand]:
    """A server that takes 4,096 bytes, started once."""
    if not SMALL:
        SMALL.append(STANDS.enter_context(ServedStand({"sums": onnx_models.row_sum()}, MAX_BODY_MB=4096 / 1_048_576)))
    yield SMALL[0]


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    STANDS.close()


def test_the_sum_of_many_arrays_is_right_whoever_asks_at_the_same_time(one: ServedStand) -> None:
    wrong: list[Any] = []

    def ask_often(number: int) -> None:
        connection = one.connect()
        for turn in range(40):
            rows = [[number, turn + row] for row in range(1 + turn % 5)]
            connection.request("POST", "/models/sums/predict", json.dumps({"instances": rows}),
                               {"content-type": "application/json"})  # fmt: skip
            found = json.loads(connection.getresponse().read()).get("predictions")
            if found != [float(sum(row)) for row in rows]:
                wrong.append((rows, found))
        connection.close()

    threads = [threading.Thread(target=ask_often, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bytes_come_out_as_they_were_made(one: ServedStand) -> None:
    for way in WAYS:
        made = headed(npy(np.array([[1, 2], [3, 4]], dtype=np.float32)), accept=NPY)
        made["rawPath"] = made["requestContext"]["http"]["path"] = "/models/sums/predict"
        made["routeKey"] = "POST /models/sums/predict"
        answer = one.send(made, way)
        assert np.load(io.BytesIO(answer.content)).ravel().tolist() == [3.0, 7.0]


# -- start and end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_an_environment_that_is_wrong_is_said_and_nothing_starts(workers: int) -> None:
    environ = {"PATH": os.environ["PATH"], "MODELYARD_SERVER_WORKERS": str(workers), "MODELYARD_QUEUE": "0"}
    found = subprocess.run(
        [sys.executable, "-m", "modelyard.server"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 1
    assert "MODELYARD_MODEL is not set" in found.stderr
    assert "MODELYARD_QUEUE is '0'" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_told_to_end_answers_what_was_asked(workers: int) -> None:
    models = {"sums": onnx_models.row_sum(), "other": onnx_models.row_sum()}
    with ServedStand(models, SERVER_WORKERS=workers) as stand:
        stand.bucket.delay_s = 0.5  # the model is loaded for the first request, which takes its time
        connection = stand.connect()
        connection.request("POST", "/models/sums/predict", '{"instances": [[1, 2]]}',
                           {"content-type": "application/json"})  # fmt: skip
        time.sleep(0.3)
        stand.process.send_signal(signal.SIGTERM)
        assert json.loads(connection.getresponse().read())["predictions"] == [3.0]
        connection.close()
        assert stand.end() in (0, -signal.SIGTERM)
        assert [line["event"] for line in stand.lines() if line.get("event", "").startswith("server_")].count(
            "server_ended"
        ) == workers
        with pytest.raises(ConnectionRefusedError):
            stand.connect().request("GET", "/ping")
