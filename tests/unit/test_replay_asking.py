"""How two versions are asked the same: in turns, each in its process, and what is written down of it."""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
import pytest

from modelyard.errors import ConflictError
from modelyard.predictor.signature import signature_of
from modelyard.replay.asking import alike, replay
from modelyard.replay.captured import Captured, Record
from modelyard.replay.judging import Side, document, judge
from modelyard.replay.period import Period
from modelyard.replay.process import Lost, Process
from modelyard.replay.subject import Answered, Failure, Loaded, Subject
from modelyard.rollout.policy import Policy
from tests.fakes.onnx_models import endless_below_zero, row_sum


class InTurn:
    """A version that answers in this process, and writes down when it was asked."""

    def __init__(self, name: str, asked: list[str], answer: Any = 1.0) -> None:
        self.name, self.asked, self.answer = name, asked, answer

    def start(self) -> Loaded:
        return Loaded()

    def ask(self, body: bytes) -> Answered | Lost:
        self.asked.append(f"{self.name}{json.loads(body)['instances'][0]}")
        if isinstance(self.answer, Failure):
            return Lost(self.answer)
        return Answered({"predictions": [self.answer], "code": None, "message": None, "latency_ms": 2.0}, {})


def record(number: int, *, version: int = 3, predictions: bytes = b"[1.0]") -> Record:
    return Record(
        time=f"2026-11-21T10:00:{number:02}.000000Z", prediction_id=f"{number:032x}", request_id="r", version=version,
        instances=b"[%d]" % number, rows=1, predictions=predictions, redacted=(),
    )  # fmt: skip


def test_who_is_asked_first_changes_from_request_to_request() -> None:
    asked: list[str] = []
    replay(map(record, range(4)), champion=InTurn("a", asked), candidate=InTurn("b", asked), version=3)
    assert asked == ["a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]


def test_a_record_has_the_form_of_a_shadows() -> None:
    found = replay([record(7)], champion=InTurn("a", [], 1.0), candidate=InTurn("b", [], 2.0), version=3)
    assert [json.loads(line) for line in found.records] == [
        {
            "time": "2026-11-21T10:00:07.000000Z", "version": 1, "prediction_id": f"{7:032x}", "request_id": "r",
            "instances": [7], "predictions": [1.0], "latency_ms": 2.0, "mode": "shadow", "process": {},
            "shadow": {"version": 2, "predictions": [2.0], "code": None, "message": None, "latency_ms": 2.0},
        }
    ]  # fmt: skip


def test_a_champion_that_ends_its_process_again_and_again_is_an_error() -> None:
    crashing = InTurn("a", [], Failure("crashed", "exit status 1"))
    with pytest.raises(ConflictError, match="exit status 1") as refused:
        replay(map(record, range(9)), champion=crashing, candidate=InTurn("b", []), version=3)
    assert refused.value.code == "champion_fails"


def test_answers_that_do_not_come_again_are_a_reason_for_doubt() -> None:
    records = [record(number, predictions=b"[1.0]" if number % 2 else b"[5.0]") for number in range(40)]
    found = replay(records, champion=InTurn("a", []), candidate=InTurn("b", []), version=3)
    assert (found.compared, found.same) == (40, 20)
    captured = Captured(records=records)
    told = document(
        judge(captured, found, Policy()), model="m", candidate=Side(name="x"), champion=Side(name="version 3"),
        period=Period(), captured=captured, replayed=found, policy=Policy(),
    )  # fmt: skip
    assert ["20 of 40 requests here" in remark for remark in told["remarks"]] == [True]
    json.dumps(told, allow_nan=False)


def test_a_single_crash_is_one_too_many() -> None:
    class Once(InTurn):
        def ask(self, body: bytes) -> Answered | Lost:
            self.answer = Failure("crashed", "exit status 9") if body.endswith(b"[5]}") else 1.0
            return super().ask(body)

    records = [record(number) for number in range(9)]
    found = replay(records, champion=InTurn("a", []), candidate=Once("b", []), version=3)
    assert len(found.records) == 9, "the others were asked all the same"
    verdict = judge(Captured(records=records), found, Policy())
    assert (verdict.decision, verdict.cause) == ("abort", "raises")
    assert "exit status 9; that happened once" in str(verdict.explanation)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1.0, 1.00001, True), (1.0, 1.01, False), (1, 1.0, True), (0.0, 1e-9, True), ("a", "a", True),
        ({"p": [0.1, 0.2]}, {"p": [0.10000001, 0.2]}, True), ({"p": 1}, {"q": 1}, False), ([1], [1, 2], False),
        (None, None, True), (None, 0.0, False),
    ],
)  # fmt: skip
def test_answers_are_alike_but_for_the_last_digits(one: Any, other: Any, same: bool) -> None:
    assert alike(one, other) is same
    assert alike(other, one) is same


# -- a process --------------------------------------------------------------------------------------------------------


def subject(tmp_path: Path, onnx: bytes, code: str | None = None, **more: Any) -> Subject:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx)
    if code is not None:
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / "__init__.py").write_text(code, encoding="utf-8")
        more |= {"code": "own", "code_folder": str(tmp_path)}
    signature = signature_of(onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"]))
    digest = hashlib.sha256(onnx).hexdigest()
    return Subject(model="m", path=str(path), digest=digest, size=len(onnx), signature=signature, **more)


BODY = b'{"instances": [[1, 2]]}'
POST = "def postprocess(outputs):\n    {}\n    return outputs['y'].ravel().tolist()\n"


@pytest.mark.parametrize("engine", ["lean", "standard"])
def test_a_process_answers_as_the_endpoint_does_and_refuses_what_it_refuses(tmp_path: Path, engine: Any) -> None:
    with Process(subject(tmp_path, row_sum(), engine=engine), deadline_s=10) as process:
        assert process.start().failed is None
        found = process.ask(BODY)
        assert isinstance(found, Answered)
        assert found.shadow["predictions"] == [3.0]
        assert found.shadow["latency_ms"] > 0
        assert found.process["rss_mb"] > 1
        refused = process.ask(b'{"instances": [["x", 2]]}')
        assert isinstance(refused, Answered)
        assert refused.failure is not None
        assert (refused.failure.code, refused.shadow["predictions"]) == ("wrong_type", None)
        assert isinstance(process.ask(BODY), Answered), "the same process goes on"


def test_a_run_of_the_engine_is_ended_in_its_place(tmp_path: Path) -> None:
    with Process(subject(tmp_path, endless_below_zero(), limit_s=0.1), deadline_s=20) as process:
        process.start()
        child = process._child
        found = process.ask(b'{"instances": [[-1, 2]]}')
        assert isinstance(found, Answered)
        assert found.shadow["code"] == "run_timeout"
        assert process._child is child


def test_a_process_that_does_not_answer_is_ended_and_the_next_request_gets_another(tmp_path: Path) -> None:
    code = POST.format("while outputs['y'][0, 0] < 0: pass")
    with Process(subject(tmp_path, row_sum(), code), deadline_s=1.0) as process:
        process.start()
        first = process._child
        assert first is not None
        found = process.ask(b'{"instances": [[-1, -2]]}')
        assert isinstance(found, Lost)
        assert found.failure.code == "run_timeout"
        assert first.poll() is not None
        assert isinstance(process.ask(BODY), Answered)


def test_what_a_model_prints_disturbs_nobody(tmp_path: Path) -> None:
    code = "import os, sys\nprint('hello')\n" + POST.format("print('x' * 100_000); os.write(2, b'y' * 100_000)")
    with Process(subject(tmp_path, row_sum(), code), deadline_s=10) as process:
        for _ in range(4):
            assert isinstance(process.ask(BODY), Answered)
        assert process._said.seek(0, 2) <= 65_536 + 100_000


def test_a_long_request_and_a_long_answer_come_through(tmp_path: Path) -> None:
    rows = b"[1,2]," * 9_999 + b"[1,2]"
    with Process(subject(tmp_path, row_sum()), deadline_s=20) as process:
        found = process.ask(b'{"instances":[' + rows + b"]}")
        assert isinstance(found, Answered)
        assert Counter(found.shadow["predictions"]) == {3.0: 10_000}


def test_a_process_that_ends_itself_says_how_and_what_it_said_last(tmp_path: Path) -> None:
    code = POST.format("import os, sys; sys.stderr.write('the disk is full\\n'); sys.stderr.flush(); os._exit(7)")
    with Process(subject(tmp_path, row_sum(), code), deadline_s=10) as process:
        found = process.ask(BODY)
        assert isinstance(found, Lost)
        assert found.failure.message.endswith("exit status 7 (the disk is full)")


def test_a_version_that_does_not_load_in_time_is_not_loaded(tmp_path: Path) -> None:
    code = "while True: pass"
    with Process(subject(tmp_path, row_sum(), code), deadline_s=1, load_s=1.5) as process:
        failed = process.start().failed
        assert failed is not None
        assert (failed.code, "within 1.5 s" in failed.message) == ("not_loadable", True)


def test_an_answer_that_is_no_json_is_the_models_failure(tmp_path: Path) -> None:
    code = "def postprocess(outputs):\n    return ['\\udc00']\n"
    with Process(subject(tmp_path, row_sum(), code), deadline_s=10) as process:
        found = process.ask(BODY)
        assert isinstance(found, Answered)
        assert (found.shadow["code"], found.shadow["predictions"]) == ("wrong_output", None)


def test_memory_has_a_bound(tmp_path: Path) -> None:
    code = POST.format("bytearray(8_000_000_000)")
    with Process(subject(tmp_path, row_sum(), code, address_mb=3000), deadline_s=10) as process:
        found = process.ask(BODY)
        assert isinstance(found, Answered)
        assert found.shadow["code"] == "model_failed"


def test_a_process_ends_with_who_uses_it(tmp_path: Path) -> None:
    with Process(subject(tmp_path, row_sum()), deadline_s=10) as process:
        process.start()
        child = process._child
        assert child is not None
        folder = process._folder.name
    assert child.poll() is not None
    assert not Path(folder).exists()


PARENT = """
import sys, msgspec
from modelyard.replay.process import Process
from modelyard.replay.subject import Subject
process = Process(msgspec.json.decode(sys.argv[1], type=Subject), deadline_s=60)
assert process.start().failed is None
print(process._child.pid, flush=True)
process.ask(b'{"instances": [[-1, -2]]}')
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux alone ends a child with its parent")
def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = POST.format("while outputs['y'][0, 0] < 0: pass")
    made = msgspec.json.encode(subject(tmp_path, row_sum(), code))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, made], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.3)  # now it is in a loop, and hears nothing
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.communicate()
    status, ends = Path(f"/proc/{child}/status"), time.monotonic() + 10
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < ends, "the child lives on"
        time.sleep(0.02)
