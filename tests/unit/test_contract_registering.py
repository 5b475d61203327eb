"""A version that would break callers of the live one is not registered, unless somebody says why it may.

In the registry, on the command line, over HTTP. The retraining workflow: see test_retraining_verdict.
"""

import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.document import parse
from modelyard.deployment import Deployment
from modelyard.errors import ConflictError, NotFoundError, UsageError
from modelyard.ports import ConditionFailedError
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes.command_line import PROJECT, CommandLine
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.onnx_models import echo, row_sum
from tests.fakes.registries import Yard, register

Y = (OutputSpec("y", "float32", (None, 1)),)
NAMED = Signature((TensorSpec("x", "float32", (None, 1)),), Y)
RENAMED = Signature((TensorSpec("z", "float32", (None, 1)),), Y)


def promise(low: float, high: float) -> dict[str, Any]:
    field = {"dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": low, "maximum": high, "nulls": True}
    return {"format": 1, "rows": 9, "fields": {"x": field}}


@pytest.fixture
def yard() -> Yard:
    """Version 1 is live and promises 0 to 10."""
    found = Yard()
    found.add(body=b"1", signature=NAMED, contract=promise(0, 10))
    found.registry().promote("weather", 1)
    return found


# -- the registry -------------------------------------------------------------------------------------------------


def test_a_break_is_a_conflict_that_lists_all_and_nothing_becomes_visible(yard: Yard) -> None:
    before = repr(yard.records._items)
    outputs = (OutputSpec("y", "int64", (None, 1)),)
    with pytest.raises(ConflictError) as refused:
        yard.add(body=b"2", signature=Signature(NAMED.inputs, outputs), contract=promise(1, 9))
    assert (refused.value.code, refused.value.status, refused.value.exit_code) == ("breaking_contract", 409, 4)
    assert refused.value.message.splitlines() == [
        "this version would break 2 things for callers of version 1 of model 'weather', which is live:",
        "  output 'y' is int64, and was float32",
        "  allowed values of input 'x' are 1 to 9, and were 0 to 10",
    ]
    assert "--accept-breaking 'REASON'" in str(refused.value.next_step)
    assert repr(yard.records._items) == before


def test_a_reason_registers_it_and_goes_to_the_ledger(yard: Yard) -> None:
    version = yard.add(
        body=b"2", signature=NAMED, contract=promise(1, 9), note="smaller", accept_breaking="nobody sends more"
    )
    entry = yard.registry().history("weather").items[0]
    assert (entry.kind, entry.version, entry.reason) == ("registered", version.number, "nobody sends more")
    assert entry.details == {
        "accept_breaking": "nobody sends more",
        "live": 1,
        "breaks": ["allowed values of input 'x' are 1 to 9, and were 0 to 10"],
    }
    assert version.manifest.note == "smaller"


def test_a_reason_without_a_break_is_not_recorded(yard: Yard) -> None:
    yard.add(body=b"2", signature=NAMED, contract=promise(-1, 11), note="wider", accept_breaking="just in case")
    entry = yard.registry().history("weather").items[0]
    assert (entry.reason, entry.details) == ("wider", {})


def test_the_ledger_lists_only_so_many_breaks(yard: Yard) -> None:
    inputs = tuple(TensorSpec(f"x{at}", "float32", (None, 1)) for at in range(200))
    yard.add(body=b"2", signature=Signature(inputs, Y), accept_breaking="a new model")
    breaks = yard.registry().history("weather").items[0].details["breaks"]
    assert (len(breaks), breaks[-1]) == (51, "and 151 more")


def test_the_same_version_again_is_found_whatever_is_live_by_now(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    again = yard.registry().register("weather", b"2", task="binary", signature=RENAMED)
    assert (again.version.number, again.created) == (2, False)


def test_without_a_live_version_there_is_nothing_to_break() -> None:
    yard = Yard()
    yard.add(body=b"1", signature=NAMED, contract=promise(0, 10))
    assert yard.add(body=b"2", signature=RENAMED).number == 2


def test_compared_is_with_what_is_live_and_not_with_the_newest(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    assert yard.add(body=b"3", signature=NAMED, contract=promise(0, 10)).number == 3
    yard.registry().promote("weather", 2)
    with pytest.raises(ConflictError, match="callers of version 2"):
        yard.add(body=b"4", signature=NAMED)


def test_an_older_version_is_promoted_and_rolled_back_to_without_a_question(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    yard.registry().promote("weather", 2)
    assert yard.registry().promote("weather", 1).champion == 1
    assert yard.registry().rollback("weather").champion == 2


def test_versions_of_earlier_releases_have_no_contract_and_are_compared_by_their_signatures() -> None:
    yard = Yard()
    yard.add(body=b"1", signature=NAMED)
    yard.registry().promote("weather", 1)
    assert yard.add(body=b"2", signature=NAMED, contract=promise(5, 6)).number == 2
    with pytest.raises(ConflictError, match="'z' stands in its place"):
        yard.add(body=b"3", signature=RENAMED)


def test_a_contract_speaks_of_every_input_and_of_nothing_else() -> None:
    yard = Yard()
    other = promise(0, 1)
    other["fields"]["x"]["dtype"] = "float64"
    for contract, said in (
        (promise(0, 1) | {"fields": {}}, "about 'x'"),
        ({**promise(0, 1), "fields": {**promise(0, 1)["fields"], "y": promise(0, 1)["fields"]["x"]}}, "about 'y'"),
        (other, "about 'x'"),
        ({"format": 7}, "this release reads 1"),
    ):
        with pytest.raises(UsageError, match=said) as refused:
            yard.add(signature=NAMED, contract=contract)
        assert refused.value.code == "invalid_contract"
    assert yard.records._items == {}


class Promoting:
    """Stores over which somebody promotes version 2 just before the first call of ``verb``."""

    def __init__(self, yard: Yard, store: Any, verb: str) -> None:
        self._yard, self._store, self._verb = yard, store, verb

    def __getattr__(self, name: str) -> Any:
        if name == self._verb:
            self._verb = ""
            self._yard.registry("bob").promote("weather", 2)
        return getattr(self._store, name)


def test_a_promotion_in_between_counts_as_one_after_the_registration(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    racing = yard.registry(records=Promoting(yard, yard.records, "transact"))
    assert register(racing, "weather", b"3", signature=NAMED, contract=promise(0, 10)).number == 3
    deployment = yard.registry().deployment("weather")
    assert deployment is not None
    assert deployment.champion == 2, "nothing became live by the registration"


def test_a_promotion_during_the_upload_is_seen(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    racing = yard.registry(artifacts=Promoting(yard, yard.artifacts, "put_if_absent"))
    with pytest.raises(ConflictError, match="callers of version 2"):
        register(racing, "weather", b"3", signature=NAMED, contract=promise(0, 10))
    assert yard.registry().model("weather").versions == 2


def test_what_is_refused_is_neither_compiled_nor_sent(yard: Yard) -> None:
    before = dict(yard.artifacts.objects)
    with pytest.raises(ConflictError, match="would break 1 thing"):
        register(yard.registry(), "weather", b"2", signature=RENAMED, compiler=never)
    with pytest.raises(ConflictError, match="version 1 of model 'weather' exists"):
        register(yard.registry(), "weather", b"2", signature=NAMED, number=1, compiler=never)
    assert yard.artifacts.objects == before


def never(_: bytes) -> Any:
    raise AssertionError("this was compiled in vain")


class Losing:
    """A store in which the first transaction loses against somebody who also promotes version 2."""

    def __init__(self, yard: Yard) -> None:
        self._yard, self._lost = yard, False

    def transact(self, writes: Any) -> None:
        if not self._lost:
            self._lost = True
            self._yard.registry("bob").promote("weather", 2)
            raise ConditionFailedError([1])
        self._yard.records.transact(writes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._yard.records, name)


def test_an_attempt_that_lost_is_compared_anew_with_what_is_live_then(yard: Yard) -> None:
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    with pytest.raises(ConflictError, match="callers of version 2"):
        register(yard.registry(records=Losing(yard)), "weather", b"3", signature=NAMED)
    assert yard.registry().model("weather").versions == 2


def test_many_writers_and_a_promotion_leave_no_version_that_was_compared_with_nothing(yard: Yard) -> None:
    """What was registered after the promotion was compared with what it made live."""
    yard.add(body=b"2", signature=RENAMED, accept_breaking="they know")
    ends: list[str] = []

    def write(number: int) -> None:
        try:
            register(yard.registry(f"w{number}"), "weather", b"by %d" % number, signature=NAMED, note=str(number))
            ends.append("registered")
        except ConflictError as conflict:
            ends.append(conflict.code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads[:6]:
        thread.start()
    yard.registry().promote("weather", 2)
    for thread in threads[6:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ends) <= {"registered", "breaking_contract"}
    entries = yard.registry().history("weather", limit=100).items
    at = next(place for place, entry in enumerate(entries) if (entry.kind, entry.version) == ("promoted", 2))
    later = [entry for entry in entries[:at] if entry.kind == "registered"]
    assert len(later) <= 6, "at most those that had read what was live before"
    assert ends.count("registered") == len([entry for entry in entries if entry.kind == "registered"]) - 2
    assert ends.count("breaking_contract") >= 6


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Any) -> None:
        self._store, self.calls = store, []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if callable(found):
            self.calls.append(name)
        return found


@pytest.mark.parametrize(
    ("live", "calls"),
    [
        (None, ["get_many", "get_many", "transact"]),
        (False, ["get_many", "get_many", "transact"]),
        (True, ["get_many", "get", "get_many", "transact"]),
    ],
    ids=["a new model", "nothing is live", "a version is live"],
)
def test_what_the_comparison_costs(live: bool | None, calls: list[str]) -> None:
    yard = Yard()
    if live is not None:
        yard.add(body=b"1")
    if live:
        yard.registry().promote("weather", 1)
    records = Counting(yard.records)
    register(yard.registry(records=records), "weather", b"2")
    assert records.calls == calls


# -- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project with the model ``sums``, x float32 [n, 2], and an empty registry."""
    return CommandLine(tmp_path / "project", monkeypatch, capsys)


def contract_of(line: CommandLine, model: str, number: int) -> Any:
    found = line.registry().version(model, number).manifest.contract
    return None if found is None else parse(found)


def test_without_a_sample_a_version_has_no_contract_and_is_the_one_of_earlier_releases(line: CommandLine) -> None:
    line.run("register", "sums").done()
    assert contract_of(line, "sums", 1) is None


def test_a_sample_gives_a_contract_and_a_narrower_one_is_refused(line: CommandLine) -> None:
    sample = line.folder / "rows.csv"
    sample.write_text("a,b\n" + "".join(f"{at},{at / 10}\n" for at in range(101)))
    line.run("register", "sums", "--sample", str(sample), "--promote").done()
    x = contract_of(line, "sums", 1).fields["x"]
    assert (x.seen, x.minimum, x.maximum) == (((0, 0), (100, 10)), (-50, -5), (150, 15))
    less = line.folder / "less.json"
    less.write_text(json.dumps({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}))
    ended = line.run("register", "sums", "--sample", str(less))
    ended.refused(4, "would break 1 thing for callers of version 1 of model 'sums'")
    assert (
        "  allowed values of input 'x' are [0] 0 to 4, and were -50 to 150; [1] 1 to 5, and were -5 to 15" in ended.err
    )
    assert "less.json has 2 rows; ranges and categories from fewer than 100 are guesses" in " ".join(ended.err.split())
    assert "--accept-breaking" in ended.next_steps[0]
    line.run("register", "sums", "--sample", str(less), "--accept-breaking", "only small ones come").done()
    assert "only small ones come" in line.run("history", "sums").done()
    line.run("register", "sums", "--sample", str(less), "--accept-breaking", "").refused(2, "the reason to accept")


def test_the_spec_may_name_the_sample_and_say_what_is_known_better(line: CommandLine) -> None:
    folder = line.add_model("named", echo(("temp_max", "float32", [None, 1]), ("kind", "string", [None, 1])))
    rows = [{"temp_max": at, "kind": "ab"[at % 2]} for at in range(100)]
    (folder / "sample.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(
        f'{spec}\n[contract]\nsample = "sample.jsonl"\nmode = "clip"\ntolerance = 0.0\n'
        "[contract.fields.temp_max]\nmaximum = 60.0\n"
    )
    assert "note" not in line.run("register", "named").err
    fields = contract_of(line, "named", 1).fields
    assert (fields["temp_max"].minimum, fields["temp_max"].maximum, fields["temp_max"].mode) == (0, 60, "clip")
    assert (fields["kind"].categories, fields["kind"].mode) == ({"a": 0.5, "b": 0.5}, "reject")
    (folder / "model.toml").write_text(f"{spec}\n[contract.fields.temp_mx]\nmaximum = 60.0\n")
    line.run("register", "named").refused(2, "contract.fields.temp_mx", "did you mean 'temp_max'?")


def test_limits_without_a_sample_are_a_contract_too(line: CommandLine) -> None:
    with (line.folder / "models" / "sums" / "model.toml").open("a") as spec:
        spec.write("[contract.fields.x]\nminimum = 0.0\n")
    line.run("register", "sums").done()
    contract = contract_of(line, "sums", 1)
    assert (contract.rows, contract.fields["x"].minimum, contract.fields["x"].maximum) == (0, 0.0, None)


def test_a_sample_goes_through_the_models_own_code(line: CommandLine) -> None:
    shutil.copytree(PROJECT / "models" / "digits", line.folder / "models" / "digits", dirs_exist_ok=True)
    folder = line.folder / "models" / "digits"
    line.run("register", "digits", "--sample", str(folder / "example.json")).done()
    pixels = contract_of(line, "digits", 1).fields["pixels"]
    assert pixels.shape == (None, 64)
    assert str(folder / "python") not in sys.path
    assert max(pixels.seen[1]) == 1.0, "16 is scaled to 1 before the graph sees it"
    (line.folder / "rows.csv").write_text("pixels\n1\n")
    line.run("register", "digits", "--sample", "rows.csv").refused(2, "rows.csv is a CSV file; what digits_model takes")
    (line.folder / "bad.json").write_text(json.dumps([{"pixels": [[17] * 8] * 8}]))
    line.run("register", "digits", "--sample", "bad.json").refused(2, "is 17 at row 0, column 0; it must be 0 to 16")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no_such.csv", None, "no_such.csv is not a file"),
        ("rows.csv", b"a,b,c\n1,2,3\n", "rows.csv has 3 columns; input 'x' takes 2 values a row"),
        ("rows.parquet", b"PAR1", "rows.parquet is none of .csv, .json, .jsonl"),
        ("rows.json", b'[{"x": [1, "2"]}]', "'x' of instance 0"),
    ],
)
def test_a_sample_that_is_none_is_refused_before_anything_is_written(
    line: CommandLine, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (line.folder / name).write_bytes(content)
    line.run("register", "sums", "--sample", name).refused(2, said)
    assert line.everything() == {"records": {}, "objects": {}}


def test_another_model_file_that_breaks_callers_is_refused_with_its_signature(line: CommandLine) -> None:
    line.run("register", "sums", "--promote").done()
    other = line.folder / "other.onnx"
    other.write_bytes(echo(("z", "float32", [None, 2])))
    ended = line.run("register", "sums", str(other))
    ended.refused(4, "callers of version 1")
    assert "input 'x' is gone; 'z' stands in its place" in ended.err
    line.run("register", "sums", str(other), "--accept-breaking", "agreed").done()
    (line.folder / "more.onnx").write_bytes(row_sum(3.0))
    line.run("register", "sums", "more.onnx").done()


# -- over HTTP ----------------------------------------------------------------------------------------------------


def live(stand: ControlStand) -> Deployment:
    found = stand.registry().deployment(MODEL)
    assert found is not None
    return found


def test_a_sample_in_the_body_gives_a_contract() -> None:
    stand = ControlStand()
    answer = stand.register(b"1", sample=[{"x": [0, 1]}, {"x": [10, 1.5]}])
    assert answer.status == 201
    field = answer.body["version"]["contract"]["fields"]["x"]
    assert (field["minimum"], field["maximum"], field["mode"]) == ([-5, 0.75], [15, 1.75], "reject")
    assert stand.register(b"2").body["version"]["contract"] is None


def test_a_break_over_http_is_409_with_all_of_them_and_a_reason_registers_it() -> None:
    stand = ControlStand()
    stand.register(b"1", sample=[{"x": [0, 1]}, {"x": [10, 1.5]}])
    stand.promote(1, reason="first")
    answer = stand.register(b"2", sample=[{"x": [4, 1]}, {"x": [5, 1.5]}])
    assert (answer.status, answer.code, answer.body["field"]) == (409, "breaking_contract", "x")
    assert "input 'x' are [0] 3.5 to 5.5, and were -5 to 15" in answer.body["detail"]
    assert "accept_breaking" in answer.body["next_step"]
    with pytest.raises(NotFoundError):
        stand.registry().version(MODEL, 2)
    asked = {"sample": [{"x": [4, 1]}, {"x": [5, 1.5]}], "accept_breaking": " they know "}
    assert stand.register(b"2", **asked).status == 201
    entry = stand.registry().history(MODEL).items[0]
    assert (entry.reason, entry.details["live"], live(stand).champion) == ("they know", 1, 1)


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({"sample": []}, "invalid_request", "sample"),
        ({"sample": [{}] * 10_001}, "invalid_request", "sample"),
        ({"sample": {"x": 1}}, "invalid_request", "sample"),
        ({"sample": [{"x": [1]}]}, "invalid_sample", "x"),
        ({"sample": [{"x": [1, 2]}, {"y": [1, 2]}]}, "invalid_sample", "x"),
        ({"accept_breaking": ""}, "invalid_request", "accept_breaking"),
        ({"accept_breaking": "  "}, "invalid_request", "accept_breaking"),
        ({"accept_breaking": "\u202eyes"}, "invalid_request", "accept_breaking"),
        ({"accept_breaking": True}, "invalid_request", "accept_breaking"),
    ],
)
def test_a_body_that_is_wrong_is_400_with_the_field(asked: dict[str, Any], code: str, field: str) -> None:
    stand = ControlStand()
    answer = stand.register(b"1", **asked)
    assert (answer.status, answer.code, answer.body["field"]) == (400, code, field)
    assert stand.records._items == {}
