"""The function of a model with an app of its own, as Lambda runs it: events in, responses out, audit lines."""

import base64
import copy
import gc
import importlib
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from modelyard.errors import ModelyardError
from modelyard.serving.response import MAX_RESPONSE_BYTES
from tests.fakes import onnx_models
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote

PROJECT = Path(__file__).parents[2]
EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
CONTEXT = SimpleNamespace(aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11")
PREFIX = "/models/sums/app"
REFRESH_S = 0.2
ROW = {"left": 1, "right": 2}


def asking(method: str, path: str, body: object = None, *, query: str = "", **changes: Any) -> dict[str, Any]:
    """An event as API Gateway makes it for a request below the app's prefix."""
    event = copy.deepcopy(EVENT)
    route = f"ANY {PREFIX}" + ("/{proxy+}" if path else "")
    event |= {"routeKey": route, "rawPath": PREFIX + path, "rawQueryString": query}
    event["requestContext"]["http"] |= {"method": method, "path": PREFIX + path}
    event["requestContext"]["routeKey"] = route
    if path:
        event["pathParameters"] = {"proxy": path.removeprefix("/")}
    event.pop("body", None)
    if body is not None:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    return {**event, **changes}


class Function:
    """The imported function, and what it wrote."""

    def __init__(self, module: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
        self.module = module
        self._capfd = capfd
        self.lines: list[dict[str, Any]] = []
        self._begun = ""

    def ask(self, event: object, context: object = CONTEXT) -> tuple[int, Any]:
        """Status and body, as JSON where it is JSON."""
        response = self.raw(event, context)
        body = response["body"]
        return response["statusCode"], json.loads(body) if "json" in response["headers"]["content-type"] else body

    def raw(self, event: object, context: object = CONTEXT) -> dict[str, Any]:
        response: dict[str, Any] = self.module.handler(event, context)
        json.dumps(response)
        return response

    def read(self) -> list[dict[str, Any]]:
        *whole, self._begun = (self._begun + self._capfd.readouterr().out).split("\n")  # another thread may be writing
        self.lines += map(json.loads, whole)
        return self.lines

    @property
    def audits(self) -> list[dict[str, Any]]:
        return [line for line in self.read() if line["kind"] == "audit"]

    def events(self) -> list[str]:
        return [line["event"] for line in self.read() if line["kind"] == "event"]

    def flush(self) -> None:
        """Have all that comes after an answer done, as at the end of the process."""
        self.module.ENDPOINT._afterwards.flush(10.0)


@pytest.fixture
def bucket():
    with HttpBucket() as served:
        yield served


@pytest.fixture
def start(bucket, monkeypatch, capfd):
    """Import the function in the environment that Lambda would give it."""
    functions: list[ModuleType] = []

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
        return Function(functions[-1], capfd)

    yield started
    gc.enable()  # a start that fails leaves it off
    for function in functions:  # a check under way would fail, and say so, in the middle of the next test
        function.ENDPOINT._follower.wait(10.0)
        function.ENDPOINT._afterwards.flush(10.0)


@pytest.fixture
def sums(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    return start()


def notes() -> list[str]:
    found: list[str] = sys.modules["tests.fakes.web_app"].NOTES
    return found


def until(reached: Any, *, within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.01)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_an_async_route_predicts_with_the_live_version(sums):
    status, answer = sums.ask(asking("POST", "/sum", ROW))
    assert (status, answer["sum"], answer["version"]) == (200, 3.0, 1)
    (line,) = sums.audits
    assert (line["version"], line["digest"], line["instances"]) == (1, answer["digest"], 1)
    assert (line["prediction_id"], len(answer["prediction"])) == (answer["prediction"], 32)


def test_a_sync_route_runs_in_a_thread_and_predicts_all_the_same(sums):
    status, answer = sums.ask(asking("POST", "/plain", ROW))
    assert (status, answer["sum"]) == (200, 3.0)
    assert answer["thread"] != sums.ask(asking("GET", "/loop"))[1]["thread"] == "app"
    assert sums.audits[0]["instances"] == 1


def test_a_route_may_answer_the_standard_body(sums):
    status, answer = sums.ask(asking("POST", "/instances", {"instances": [[1, 2], [3, 4]]}))
    assert (status, answer) == (200, {"predictions": [3.0, 7.0], "warnings": [], "model": "sums"})
    assert sums.audits[0]["instances"] == 2


def test_the_standard_routes_stay_what_they_are(sums):
    status, answer = sums.ask({**EVENT, "routeKey": "POST /models/sums/predict", "body": '{"instances": [[1, 2]]}'})
    assert (status, answer["predictions"], answer["version"]) == (200, [3.0], 1)
    status, problem = sums.ask({**EVENT, "routeKey": "POST /models/other/predict", "body": '{"instances": [[1, 2]]}'})
    assert (status, problem["code"]) == (404, "unknown_model")


def test_path_query_cookies_and_bytes_reach_the_app_as_they_were_sent(sums):
    event = asking("GET", "/echo/a b/ü", query="x=1&x=2&y=%26", cookies=["one=1", "two=2"])
    assert sums.ask(event)[1] == {
        "rest": "a b/ü",
        "query": [["x", "1"], ["x", "2"], ["y", "&"]],
        "cookies": {"one": "1", "two": "2"},
    }
    sent = bytes(range(256))
    event = asking("POST", "/bytes", base64.b64encode(sent).decode(), isBase64Encoded=True)
    response = sums.raw(event)
    assert (response["isBase64Encoded"], base64.b64decode(response["body"])) == (True, sent)


@pytest.mark.parametrize(
    ("stage", "base"), [("", ""), ("/live", ""), ("", "/_aws/execute-api/abc/live")], ids=["default", "stage", "local"]
)
def test_the_links_that_the_app_makes_work_behind_stage_and_prefix(bucket, start, stage, base):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start(MODELYARD_BASE_PATH=base)
    event = asking("GET", "/")
    event["requestContext"]["http"]["path"] = event["rawPath"] = stage + PREFIX + "/"
    event["headers"] |= {"host": "api.example.com", "x-forwarded-proto": "https", "x-forwarded-port": "443"}
    if base:  # the local AWS has no TLS and says nothing
        del event["headers"]["x-forwarded-proto"], event["headers"]["x-forwarded-port"]
    scheme = "http" if base else "https"
    mounted = f"{base}{stage}{PREFIX}"
    assert function.ask(event)[1] == {
        "url": f"{scheme}://api.example.com{mounted}/",
        "root_path": mounted,
        "link": f"{scheme}://api.example.com{mounted}/who",
    }
    event["requestContext"]["http"]["path"] = stage + PREFIX + "/docs"
    assert f"'{mounted}/openapi.json'" in function.ask(event)[1]
    event["requestContext"]["http"]["path"] = stage + PREFIX + "/openapi.json"
    assert function.ask(event)[1]["servers"] == [{"url": mounted}]
    event["requestContext"]["http"]["path"] = stage + PREFIX + "/who/"
    redirect = function.raw(event)
    assert (redirect["statusCode"], redirect["headers"]["location"]) == (
        307,
        f"{scheme}://api.example.com{mounted}/who",
    )


def test_the_prefix_alone_is_the_apps_root(sums):
    assert sums.ask(asking("GET", ""))[0] == 200
    assert sums.ask(asking("GET", "/"))[0] == 200


def test_the_app_learns_who_asks_from_the_authorizer_and_not_from_headers(sums):
    event = asking("GET", "/who")
    event["headers"]["x-caller"] = "arn:aws:iam::999999999999:user/forged"
    identity = event["requestContext"]["authorizer"]["iam"]
    assert sums.ask(event)[1] == {
        "caller": identity["userArn"],
        "account": identity["accountId"],
        "request_id": event["requestContext"]["requestId"],
    }
    (line,) = sums.audits
    assert (line["caller"], line["status"], line["instances"]) == (identity["userArn"], 200, 0)


@pytest.mark.parametrize(
    ("path", "body", "binary"),
    [("/page", "<h1>Grüße</h1>", False), ("/stream/3", "x" * 30, False), ("/stream/3?b", "/////w==", True)],
)
def test_pages_streams_and_bytes_are_answered_whole(sums, path, body, binary):
    path, _, asked = path.partition("?")
    response = sums.raw(asking("GET", path, query="binary=1&chunks=1&size=1" if asked else ""))
    assert (response["statusCode"], response["isBase64Encoded"]) == (200, binary)
    assert response["body"] == ("////" if asked else body)


def test_an_event_without_headers_is_a_request(sums):
    assert sums.ask(asking("GET", "/who", headers=None))[0] == 200


def test_cookies_and_headers_of_the_answer_are_kept(sums):
    response = sums.raw(asking("GET", "/cookies"))
    assert [cookie.partition(";")[0] for cookie in response["cookies"]] == ["one=1", "two=2"]
    assert response["headers"]["x-place"] == "Zürich"


def test_the_example_of_the_documentation_works(bucket, start, tmp_path, monkeypatch):
    page = (PROJECT / "docs" / "own_app.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "documented.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(PROJECT / "models" / "digits" / "python")
    digits = PROJECT / "models" / "digits"
    promote(bucket, "digits", (digits / "digits.onnx").read_bytes(), version=1, revision=1)
    function = start("documented:app", MODELYARD_MODEL="digits", MODELYARD_CODE="digits_model")
    (picture, *_) = json.loads((digits / "example.json").read_text())["instances"]
    event = json.loads(json.dumps(asking("POST", "/read", picture)).replace("/models/sums/", "/models/digits/"))
    caller = event["requestContext"]["authorizer"]["iam"]["userArn"]
    assert function.ask(event) == (200, {"digit": 2, "version": 1, "asked_by": caller})
    (line,) = function.audits
    assert (line["model"], line["instances"]) == ("digits", 1)


# -- one version per request, kept fresh ------------------------------------------------------------------------------


def test_a_promotion_in_the_middle_of_a_request_does_not_mix_versions(bucket, sums):
    web = sys.modules["tests.fakes.web_app"]
    answers: list[Any] = []
    asked = threading.Thread(target=lambda: answers.append(sums.ask(asking("POST", "/twice", ROW))))
    asked.start()
    web.BETWEEN.wait()
    promote(bucket, "sums", onnx_models.row_sum(27), version=2, revision=2)
    until(lambda: sums.ask(asking("POST", "/sum", ROW))[1]["version"] == 2)
    web.BETWEEN.wait()
    asked.join()
    assert answers == [(200, {"predictions": [3.0, 3.0], "versions": [1, 1]})]
    by_version = {line["version"]: line["instances"] for line in sums.audits}
    assert by_version == {1: 2, 2: 1}


def test_a_rollback_is_followed_within_refresh_s(bucket, sums):
    promote(bucket, "sums", onnx_models.row_sum(27), version=2, revision=2)
    time.sleep(REFRESH_S)
    assert sums.ask(asking("POST", "/sum", ROW))[1]["sum"] == 30.0
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=3)
    time.sleep(REFRESH_S)
    assert sums.ask(asking("POST", "/sum", ROW))[1]["sum"] == 3.0


def test_without_a_deployment_only_routes_that_ask_for_the_version_fail(start):
    function = start()
    assert function.ask(asking("GET", "/who"))[0] == 200
    status, problem = function.ask(asking("POST", "/sum", ROW))
    assert (status, problem["code"]) == (503, "no_deployment")
    assert [line["version"] for line in function.audits] == [None, None]


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/raises/error", "/raises/exit", "/yield?fail=1", "/stream/2?fail=1"])
def test_what_the_app_raises_is_a_problem_without_the_cause_and_the_log_has_it(sums, path):
    path, _, query = path.partition("?")
    response = sums.raw(asking("GET", path, query=query))
    problem = json.loads(response["body"])
    assert (response["statusCode"], problem["code"]) == (500, "app_failed")
    assert response["headers"]["content-type"] == "application/problem+json"
    assert not any(word in response["body"] for word in ("secret", "resource", "Traceback", "middle", ".py"))
    (line,) = sums.audits
    assert (line["status"], line["code"], line["errors"]) == (500, "app_failed", 1)
    (failed,) = [line for line in sums.read() if line.get("event") == "request_failed"]
    assert any(word in "".join(failed["traceback"]) for word in ("secret", "resource", "middle"))


def test_an_app_in_debug_mode_shows_its_callers_no_traceback(sums):
    sums.module.ENDPOINT._app.debug = True
    status, problem = sums.ask(asking("GET", "/raises/error"))
    assert (status, problem["code"]) == (500, "app_failed")


def test_what_the_model_refuses_is_the_standard_problem(sums):
    status, problem = sums.ask(asking("GET", "/raises/wrong"))
    assert (status, problem["code"], problem["row"]) == (400, "wrong_type", 0)
    (line,) = sums.audits
    assert (line["status"], line["code"], line["refused"]) == (400, "wrong_type", 1)


@pytest.mark.parametrize(("path", "status"), [("/raises/teapot", 418), ("/status/422", 422), ("/status/503", 503)])
def test_an_error_that_the_app_answers_itself_is_its_own(sums, path, status):
    found, body = sums.ask(asking("GET", path))
    assert (found, set(body) & {"own", "detail"}) == (status, set(body))
    (line,) = sums.audits
    assert (line["status"], line["refused"], line["errors"]) == (status, int(status < 500), int(status >= 500))


def test_an_apps_own_handler_for_every_error_makes_the_answer(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start("tests.fakes.web_app_that_handles:app")
    assert function.ask(asking("GET", "/"))[1] == {"sorry": "KeyError"}
    assert "app_failed" in function.events()
    assert [line["status"] for line in function.audits] == [500]


def test_in_debug_mode_a_handler_is_not_asked_and_no_traceback_answered(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    status, problem = start("tests.fakes.web_app_that_handles:debugged").ask(asking("GET", "/"))
    assert (status, problem["code"]) == (500, "app_failed")


def test_a_body_that_the_app_refuses_is_fastapis_answer(sums):
    status, body = sums.ask(asking("POST", "/sum", {"left": "x"}))
    assert status == 422
    assert [error["loc"] for error in body["detail"]] == [["body", "left"], ["body", "right"]]


def test_an_app_that_ends_the_loop_harms_no_later_request(sums):
    before = sums.ask(asking("GET", "/loop"))[1]
    assert sums.ask(asking("GET", "/interrupts"))[1] == "still here"
    assert sums.ask(asking("GET", "/loop"))[1] == before
    assert "app_loop_interrupted" in sums.events()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.0"},
        {"requestContext": {"requestId": "1"}},
        {"headers": {"host": "a:b:c"}},
        {"headers": ["host"]},
        {"body": "x", "isBase64Encoded": True},
        {"body": 7},
        {"rawQueryString": 7},
    ],
    ids=str,
)
def test_an_event_that_api_gateway_did_not_make_is_refused(sums, change):
    status, problem = sums.ask(asking("POST", "/sum", ROW) | change)
    assert (status, problem["code"]) == (400, "invalid_event")
    assert len(sums.audits) == 1


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
@pytest.mark.parametrize(("letter", "bytes_each"), [("a", 1), ("\n", 2), ("é", 2), ('"', 2)])
def test_an_answer_is_held_to_what_lambda_returns(sums, letter, bytes_each, beyond, status):
    def answer(size: int) -> dict[str, Any]:
        return sums.raw(asking("GET", f"/large/{size}", query=f"letter={quote(letter)}"))

    def written(response: dict[str, Any]) -> int:
        return len(json.dumps(response, ensure_ascii=False).encode())

    size = (MAX_RESPONSE_BYTES - written(answer(1_000_000))) // bytes_each + 1_000_000
    assert MAX_RESPONSE_BYTES - bytes_each < written(answer(size)) <= MAX_RESPONSE_BYTES
    response = answer(size + beyond)
    assert response["statusCode"] == status
    if status == 413:
        assert json.loads(response["body"])["code"] == "response_too_large"


def test_a_stream_that_never_ends_is_given_up(sums):
    status, problem = sums.ask(asking("GET", "/stream/1000000000", query="size=1000000"))
    assert (status, problem["code"]) == (413, "response_too_large")
    assert "all sent" not in notes()


def test_an_app_that_is_late_is_answered_for(sums):
    context = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 400)
    began = time.monotonic()
    status, problem = sums.ask(asking("GET", "/sleep/30"), context)
    assert (status, problem["code"]) == (504, "app_timeout")
    assert time.monotonic() - began < 0.4
    (line,) = sums.audits
    assert (line["status"], line["latency_ms"] > 250) == (504, True)


# -- one loop, one lifespan -------------------------------------------------------------------------------------------


def test_events_share_one_loop_and_what_was_made_on_it(sums):
    assert len({sums.ask(asking("GET", "/loop"))[1]["loop"] for _ in range(3)}) == 1
    taken: list[Any] = []
    waiting = threading.Thread(target=lambda: taken.append(sums.ask(asking("GET", "/take"))))
    waiting.start()
    assert sums.ask(asking("GET", "/put/7"))[0] == 200
    waiting.join()
    assert taken == [(200, 7)]


def test_a_dependency_with_yield_is_closed_after_its_request(sums):
    assert sums.ask(asking("GET", "/yield"))[1] == "resource"
    until(lambda: notes()[-2:] == ["opened", "closed"])


def test_startup_and_shutdown_run_once_for_all_events(sums):
    for _ in range(3):
        sums.ask(asking("GET", "/who"))
    assert notes() == ["startup"]
    sums.flush()
    assert notes() == ["startup", "shutdown"]
    sums.flush()
    assert notes() == ["startup", "shutdown"]


def test_a_snapshot_does_not_shut_the_app_down(sums):
    sums.module.ENDPOINT.prime()
    sums.flush()
    assert notes() == ["startup"]
    assert sums.ask(asking("GET", "/who"))[0] == 200
    sums.flush()
    assert notes() == ["startup", "shutdown"]


def test_the_answer_does_not_wait_for_background_tasks_and_the_worker_does(sums):
    began = time.monotonic()
    assert sums.ask(asking("GET", "/later", query="seconds=0.3"))[1] == "at once"
    assert time.monotonic() - began < 0.25
    sums.flush()
    assert "background 2.0" in notes()


def test_a_background_task_that_fails_is_an_event_and_nothing_more(sums):
    assert sums.ask(asking("GET", "/later", query="fail=1"))[0] == 200
    until(lambda: "app_failed_after_answer" in sums.events())
    assert sums.ask(asking("GET", "/who"))[0] == 200
    assert [line["status"] for line in sums.audits] == [200, 200]


def test_what_the_app_predicts_is_captured(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start(MODELYARD_CAPTURE="1")
    _, answer = function.ask(asking("POST", "/sum", ROW))
    function.ask(asking("POST", "/instances", {"instances": [[1, 2], [3, 4]]}))
    function.ask(asking("GET", "/who"))
    function.ask(asking("GET", "/raises/wrong"))
    assert function.ask(asking("GET", "/refuses"))[0] == 409
    function.flush()
    lines = [json.loads(line) for key in bucket.objects if "captures/" in key for line in bucket.objects[key].split()]
    assert [(line["instances"], line["predictions"]) for line in lines] == [
        ([[1, 2]], [3.0]),
        ([[1, 2], [3, 4]], [3.0, 7.0]),
    ]
    assert lines[0]["prediction_id"] == answer["prediction"]


# -- starts that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("tests.fakes.absent:app", "tests.fakes.absent cannot be imported: ModuleNotFoundError"),
        ("tests.fakes.web_app:application", "tests.fakes.web_app has no 'application'; its apps are 'app'"),
        ("tests.fakes.web_app:NOTES", "which is of type list and no ASGI app"),
        ("tests.fakes.web_app:FastAPI", "which is the class FastAPI and no ASGI app"),
        ("tests.fakes.web_app:opened", "which is of type function and no ASGI app"),
        ("tests.fakes.web_app:sum_of", "which is of type function and no ASGI app"),
        ("tests.fakes.web_app_that_fails:app", "the startup of the model's app failed: ConnectionError: no database"),
    ],
)
def test_an_app_that_cannot_be_served_is_an_error_of_the_start(bucket, start, app, said):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    with pytest.raises(ModelyardError, match=said.replace("(", r"\(")):
        start(app)


def test_an_environment_without_an_app_is_an_error_of_the_start(start):
    with pytest.raises(ModelyardError, match="MODELYARD_APP is not set"):
        start("")


def test_an_app_without_lifespan_starts(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start("tests.fakes.raw_app:app")
    assert function.ask(asking("GET", "/anything"))[1] == "http"
    status, problem = function.ask(asking("GET", "/nothing"))
    assert (status, problem["code"]) == (500, "app_failed")


def test_a_new_process_with_the_lean_engine_serves_an_app_that_needs_no_numpy(bucket):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    asked = [asking("POST", "/sum", ROW), asking("GET", "/openapi.json")]
    script = f"""
import json, sys
import functions.app
for event in json.loads({json.dumps(json.dumps(asked))}):
    print(functions.app.handler(event, None)["body"])
from pydantic import BaseModel
print(BaseModel.model_config)
print(sorted({{"numpy", "boto3", "botocore", "onnxruntime"}} & {{*sys.modules}}))
"""
    environment = {
        **bucket.environment,
        "MODELYARD_MODEL": "sums",
        "MODELYARD_ARTIFACT_BUCKET": bucket.name,
        "MODELYARD_APP": "tests.fakes.web_app:app",
        "MODELYARD_ENGINE": "lean",
    }
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    body, document, setting, imported = [line for line in ended.stdout.splitlines() if '"kind"' not in line]
    assert (json.loads(body)["sum"], imported) == (3.0, "[]")
    assert "/sum" in json.loads(document)["paths"]
    assert setting == "{}", "the app's own models are built when it is imported, so that their mistakes show then"
