"""What an app answers, through the function: whole, with the live version, behind stage and prefix."""

import base64
import json
import re
import sys
import threading
import time
from typing import Any

import pytest

from tests.fakes import onnx_models
from tests.fakes.app_function import EVENT, PREFIX, PROJECT, REFRESH_S, ROW, asking, until
from tests.fakes.objects import promote

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


def test_what_an_app_predicted_may_be_labelled(sums, bucket):
    _, answer = sums.ask(asking("POST", "/sum", ROW))
    label = json.dumps({"prediction_id": answer["prediction"], "label": 3.5})
    status, taken = sums.ask({**EVENT, "routeKey": "POST /models/sums/feedback", "body": label})
    assert (status, taken["accepted"]) == (200, 1)
    (line,) = [json.loads(content) for key, content in bucket.objects.items() if key.startswith("feedback/sums/")]
    assert (line["prediction_id"], line["label"]) == (answer["prediction"], 3.5)
    assert (sums.audits[-1]["protocol"], sums.audits[-1]["labels"]) == ("feedback", 1)


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
