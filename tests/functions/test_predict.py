"""The endpoint function as Lambda runs it: its environment, its bucket over a socket, events in, responses out."""

import base64
import concurrent.futures
import copy
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.fakes import onnx_models
from tests.fakes.cold_starts import imported_by, refusal_of
from tests.fakes.objects import promote
from tests.functions.conftest import REFRESH_S

PROJECT = Path(__file__).parents[2]
EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
DIGITS = PROJECT / "models" / "digits"
CONTEXT = SimpleNamespace(aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11")


def event(body: object, *, headers: dict | None = None, binary: bool = False) -> dict:
    changed = copy.deepcopy(EVENT)
    changed["body"] = body if isinstance(body, str) else json.dumps(body)
    changed["headers"].update(headers or {})
    changed["isBase64Encoded"] = binary
    return changed


def instances(*rows: object) -> dict:
    return event({"instances": list(rows)})


@pytest.fixture
def digits(bucket, start, monkeypatch):
    monkeypatch.syspath_prepend(DIGITS / "python")
    promote(bucket, "digits", (DIGITS / "digits.onnx").read_bytes(), version=1, revision=1)
    return start("digits", MODELYARD_CODE="digits_model")


@pytest.fixture
def sums(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    return start("sums")


def ask(function: ModuleType, changed: object) -> tuple[int, dict]:
    if isinstance(changed, dict) and "routeKey" in changed:
        changed = {**changed, "routeKey": f"POST /models/{os.environ['MODELYARD_MODEL']}/predict"}
    response = function.handler(changed, CONTEXT)
    return response["statusCode"], json.loads(response["body"], parse_constant=pytest.fail)


def test_the_first_request_of_the_example_model_works(digits):
    example = json.loads((DIGITS / "example.json").read_text())
    status, answer = ask(digits, event(example))
    assert (status, answer["model"], answer["version"]) == (200, "digits", 1)
    assert [prediction["digit"] for prediction in answer["predictions"]] == [2, 0]
    assert all(0.5 < prediction["probability"] <= 1 for prediction in answer["predictions"])


def test_the_session_is_ready_before_the_first_request(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start("sums", MODELYARD_REFRESH_S="3600")
    paths = [path for path, _ in bucket.requests]
    assert (len(paths), paths[0]) == (2, "/artifacts/deployments/sums.json")
    assert ask(function, instances([1, 2]))[0] == 200
    assert len(bucket.requests) == 2


def test_every_invocation_writes_a_line(sums, capfd):
    capfd.readouterr()
    for changed in (instances([1, 2]), event("{"), {}, None):
        ask(sums, changed)
        (line,) = capfd.readouterr().out.splitlines()
        assert json.loads(line)["kind"] == "audit"


# -- BAD_INPUTS, row Predict: what reaches the function ---------------------------------------------------------------

PICTURE = [[0] * 8] * 8
DEEP = "[" * 20_000 + "]" * 20_000
MIB = 1024 * 1024


def _padded(size: int) -> str:
    body = json.dumps({"instances": [{"pixels": PICTURE}]})
    return body + " " * (size - len(body))


BAD_INPUTS = {
    "empty": (event(""), 400, "empty_body"),
    "wrong content type": (event("x=1", headers={"content-type": "text/plain"}), 415, "unsupported_media_type"),
    "invalid JSON": (event('{"instances": [}'), 400, "invalid_json"),
    "depth 20,000": (event('{"instances": ' + DEEP + "}"), 400, "invalid_json"),
    "NaN in": (event('{"instances": [{"pixels": NaN}]}'), 400, "invalid_json"),
    "Infinity in": (event('{"instances": [{"pixels": -Infinity}]}'), 400, "invalid_json"),
    "2^63": (instances({"pixels": [[2**63] * 8] * 8}), 400, "out_of_range"),
    "1e400": (event('{"instances": [{"pixels": 1e400}]}'), 400, "invalid_json"),
    "above float32": (instances({"pixels": [[1e39] * 8] * 8}), 400, "out_of_range"),
    "wrong dtype": (instances({"pixels": [["0"] * 8] * 8}), 400, "wrong_type"),
    "booleans": (instances({"pixels": [[True] * 8] * 8}), 400, "wrong_type"),
    "nulls": (instances({"pixels": [[None] * 8] * 8}), 400, "wrong_type"),
    "wrong rank": (instances({"pixels": [0] * 64}), 400, "wrong_shape"),
    "wrong feature count": (instances({"pixels": [[0] * 7] * 8}), 400, "wrong_shape"),
    "ragged rows": (instances({"pixels": [[0] * 8] * 7 + [[0]]}), 400, "wrong_shape"),
    "missing key": (instances({}), 400, "missing_field"),
    "extra key": (instances({"pixels": PICTURE, "colour": 1}), 400, "unknown_field"),
    "duplicate key": (event('{"instances": [{"pixels": [], "pixels": []}]}'), 400, "duplicate_key"),
    "outside the value range": (instances({"pixels": [[17] * 8] * 8}), 400, "out_of_range"),
    "batch of 0": (instances(), 400, "empty_batch"),
    "batch of 10^6": (instances(*[0] * 10**6), 413, "batch_too_large"),
    "bad base64": (event("%%%", binary=True), 400, "invalid_base64"),
    "gzip bomb": (
        event(
            base64.b64encode(gzip.compress(b"0" * 10**7)).decode(), headers={"content-encoding": "gzip"}, binary=True
        ),
        415,
        "unsupported_encoding",
    ),
    "6 MB - 1 in": (event(_padded(6 * MIB - 1)), 200, "ok"),
    "6 MB in": (event(_padded(6 * MIB)), 200, "ok"),
    "6 MB + 1 in": (event(_padded(6 * MIB + 1)), 413, "body_too_large"),
    "forged caller header": (
        event({"instances": [{"pixels": PICTURE}]}, headers={"x-caller": "arn:aws:iam::1:root"}),
        200,
        "ok",
    ),
    "a test event of the console": ({"key1": "value1"}, 400, "invalid_event"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_a_bad_input_is_answered_as_the_table_says(digits, capsys, case):
    changed, status, code = BAD_INPUTS[case]
    capsys.readouterr()
    found, answer = ask(digits, changed)
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (found, line["status"], line["code"]) == (status, status, code)
    if status != 200:
        assert (answer["code"], answer["status"]) == (code, status)
        assert answer["request_id"]
        assert len(answer["detail"]) < 300
        assert "Traceback" not in json.dumps(answer)
    assert "root" not in str(line["caller"])


def test_a_row_at_fault_is_named_by_its_index(digits):
    _, problem = ask(digits, instances({"pixels": PICTURE}, {"pixels": [[17] * 8] * 8}))
    assert (problem["row"], problem["field"]) == (1, "pixels")


def test_an_answer_over_lambdas_limit_is_413(bucket, start):
    promote(bucket, "echo", onnx_models.echo(("x", "string", [None, 1])), version=1, revision=1)
    function = start("echo")
    quotes = json.dumps('"' * 2_500_000)  # each is escaped once in the answer and twice more by Lambda
    status, problem = ask(function, event('{"instances": [' + quotes + "]}"))
    assert (status, problem["code"]) == (413, "response_too_large")


def test_a_model_that_raises_leaves_the_function_working(bucket, start):
    promote(bucket, "two", onnx_models.fails_unless_two_rows(), version=1, revision=1)
    function = start("two")
    assert ask(function, instances(1.0))[1]["code"] == "model_failed"
    assert ask(function, instances(1.0, 2.0))[0] == 200


def test_own_code_that_cannot_be_imported_is_503_and_says_where_to_look(bucket, start, capsys):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    status, problem = ask(start("sums", MODELYARD_CODE="absent_model"), instances([1, 2]))
    assert (status, problem["code"]) == (503, "model_unavailable")
    assert "absent_model" not in json.dumps(problem)
    assert "absent_model" in capsys.readouterr().out


# -- releases ---------------------------------------------------------------------------------------------------------


def test_before_the_first_promotion_it_is_503_and_then_it_works_without_a_restart(bucket, start):
    function = start("sums")
    assert ask(function, instances([1, 2]))[1]["code"] == "no_deployment"
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    assert ask(function, instances([1, 2]))[1]["predictions"] == [3.0]


@pytest.mark.parametrize("pause", [0.0, REFRESH_S + 0.05])
def test_a_promotion_and_a_rollback_take_effect_within_the_refresh_time(sums, bucket, pause):
    for revision, version in ((2, 2), (3, 1)):
        promote(bucket, "sums", onnx_models.row_sum(float(version - 1)), version=version, revision=revision)
        promoted = time.monotonic()
        time.sleep(pause)
        while True:
            asked = time.monotonic()
            _, answer = ask(sums, instances([1, 2]))
            if answer["version"] == version:
                break
            assert asked - promoted <= REFRESH_S
        assert answer["predictions"] == [3.0 + version - 1]


def test_concurrent_requests_during_promotions_never_fail_and_never_mix_versions(sums, bucket):
    stop = threading.Event()

    def keep_asking() -> list[tuple[int, dict]]:
        answers = []
        while not stop.is_set():
            answers.append(ask(sums, instances([1, 2])))
        return answers

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(4)]
        for revision in range(2, 8):
            promote(bucket, "sums", onnx_models.row_sum(float(revision)), version=revision, revision=revision)
            time.sleep(1.5 * REFRESH_S)
        stop.set()
    answers = [answer for future in asking for answer in future.result()]
    assert {status for status, _ in answers} == {200}
    assert all(a["predictions"] == [3.0 + (a["version"] if a["version"] > 1 else 0)] for _, a in answers)
    assert len({answer["version"] for _, answer in answers}) >= 4


# -- what it costs to start -------------------------------------------------------------------------------------------

FORBIDDEN = [
    "boto3", "botocore", "fastapi", "pydantic", "aws_xray_sdk", "aws_lambda_powertools", "asyncio", "orjson", "mangum",
    "logging", "urllib.request", "http.client", "dataclasses",
]  # fmt: skip
OF_TRIALS = [
    f"modelyard.{name}"
    for name in (
        "serving.trial", "serving.on_trial", "serving.shadow", "serving.kept", "serving.capture", "serving.watchdog",
        "serving.routing_key", "serving.memory", "serving.trial_settings", "traffic", "predictor.stopping",
    )
]  # fmt: skip
OF_LABELS = ["modelyard.serving.feedback", "modelyard.labels"]
FOR_LATER = ["modelyard.predictor.block", "modelyard.predictor.rows"]
NOT_LEAN = ["numpy", "onnxruntime", "platform", "decimal", "_decimal", "_uuid", "msgspec.inspect", "textwrap"]


@pytest.mark.parametrize(("engine", "absent"), [("lean", NOT_LEAN), ("standard", [])])
def test_a_cold_start_with_an_answer_imports_none_of_the_heavy_libraries(bucket, engine, absent):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    environment = {
        **bucket.environment,
        "MODELYARD_MODEL": "sums",
        "MODELYARD_ARTIFACT_BUCKET": bucket.name,
        "MODELYARD_ENGINE": engine,
    }
    made = {**instances([1, 2]), "routeKey": "POST /models/sums/predict"}
    names = [*FORBIDDEN, *OF_TRIALS, *OF_LABELS, *FOR_LATER, *absent]
    assert imported_by("functions.predict", made, environment, of=names) == []


@pytest.mark.parametrize("engine", ["lean", "standard"])
def test_onnxruntime_tells_nobody_about_a_model_and_keeps_no_notes_for_it(bucket, engine, tmp_path):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    environment = {
        **bucket.environment,
        "MODELYARD_MODEL": "sums",
        "MODELYARD_ARTIFACT_BUCKET": bucket.name,
        "MODELYARD_ENGINE": engine,
        "HOME": str(tmp_path),
    }
    imported_by("functions.predict", {**instances([1, 2]), "routeKey": "POST /models/sums/predict"}, environment, of=[])
    assert list(tmp_path.rglob("*")) == []


def test_uuid_comes_without_platform_and_both_are_whole_for_others():
    program = """
import sys
from modelyard.serving.start import import_uuid
import_uuid()
assert "uuid" in sys.modules and "platform" not in sys.modules
import uuid, platform
assert platform.python_version().startswith("3.") and platform.system() == uuid._platform_system
assert uuid.uuid1() != uuid.uuid4() and uuid.UUID(int=7).int == 7 and uuid.getnode()
import_uuid()
assert sys.modules["platform"] is platform
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_uuid_that_asks_for_more_is_imported_as_ever(tmp_path):
    (tmp_path / "uuid.py").write_text("import platform\nNAME = platform.machine()\n")
    program = """
import sys
from modelyard.serving.start import import_uuid
import_uuid()
assert "uuid" not in sys.modules and "platform" not in sys.modules
import uuid
assert uuid.NAME
"""
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path})


def test_parts_of_msgspec_come_when_they_are_asked_for():
    program = """
import sys
from modelyard.serving.start import import_msgspec
import_msgspec()
later = ["inspect", "msgpack", "structs", "toml", "yaml", "_json_schema"]
assert not [name for name in later if f"msgspec.{name}" in sys.modules]
import msgspec
class Point(msgspec.Struct):
    x: int
assert msgspec.json.decode(b'{"x": 1}', type=Point) == Point(1)
assert msgspec.json.schema(Point)["$ref"] == "#/$defs/Point"
assert msgspec.structs.replace(Point(1), x=2).x == 2
import msgspec.inspect
assert type(msgspec.inspect.type_info(int)).__name__ == "IntType"
from msgspec import msgpack
from msgspec.toml import decode
assert msgpack.decode(msgpack.encode(Point(3)), type=Point) == Point(3)
assert sys.modules["msgspec.toml"] is msgspec.toml and sys.modules["msgspec._json_schema"] is msgspec._json_schema
assert not hasattr(msgspec, "xml") and msgspec.yaml.encode
import_msgspec()
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize("bare", [True, False])
def test_only_where_no_other_code_runs_does_msgspec_come_without_decimal(bare):
    program = f"""
import sys
from modelyard.serving.start import import_msgspec
import_msgspec(bare={bare})
assert [name in sys.modules for name in ("decimal", "_uuid")] == [{not bare}] * 2
import decimal, msgspec, uuid
assert msgspec.json.encode([1.5, uuid.UUID(int=7)]) == b'[1.5,"00000000-0000-0000-0000-000000000007"]'
if {not bare}:
    assert msgspec.json.encode(decimal.Decimal("1.50")) == b'"1.50"'
assert decimal.Decimal("0.1") + decimal.Decimal("0.2") == decimal.Decimal("0.3") and uuid.uuid4() != uuid.uuid1()
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_msgspec_that_wants_more_is_imported_as_ever(tmp_path):
    package = tmp_path / "msgspec"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inspect\nfrom .inspect import type_info\n")
    (package / "inspect.py").write_text("def type_info():\n    return 7\n")
    program = """
import sys
from modelyard.serving.start import import_msgspec
import_msgspec()
assert not [name for name in sys.modules if name.startswith("msgspec")]
import msgspec
assert msgspec.type_info() == msgspec.inspect.type_info() == 7
"""
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path})


def test_an_incomplete_environment_fails_at_start_and_names_what_is_missing():
    assert "MODELYARD_MODEL is not set" in refusal_of("functions.predict", {})


def test_the_function_file_parses_calls_and_returns():
    assert len((PROJECT / "functions" / "predict.py").read_text().splitlines()) <= 60
