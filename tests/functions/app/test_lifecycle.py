"""One loop and one lifespan for all events, work after the answer, and starts that fail."""

import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from modelyard.errors import ModelyardError
from tests.fakes import onnx_models
from tests.fakes.app_function import PROJECT, ROW, asking, notes, until
from tests.fakes.objects import promote

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
    assert sums.ask(asking("GET", "/later", query="seconds=1.5"))[1] == "at once"
    assert time.monotonic() - began < 1.2
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
