"""``modelyard replay``: the verdict of a rollout on captured traffic, on this machine, for people and for CI."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli.session import Session
from modelyard.errors import AWSError
from tests.fakes.forecasts import INPUTS, forecast
from tests.fakes.replays import ENOUGH, NAME, POLICY, ReplayLine, Traffic, weather


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ReplayLine:
    """A project whose model is live, with no traffic yet."""
    made = ReplayLine(tmp_path / "project", monkeypatch, capsys)
    made.live(forecast())
    return made


@pytest.fixture
def busy(line: ReplayLine) -> ReplayLine:
    """The same with captured traffic."""
    line.capture(Traffic(forecast()).send_all(weather()))
    return line


# -- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_candidate_as_good_as_the_champion_is_to_be_promoted_and_nothing_is_changed(busy: ReplayLine) -> None:
    busy.version(forecast(sharpness=1.1))
    before = busy.everything()
    ended, told = busy.replay()
    assert (ended.code, told["decision"], told["cause"]) == (0, "promote", None)
    assert busy.everything() == before
    assert told["candidate"]["name"] == "version 2"
    assert told["champion"]["name"] == "version 1"
    assert told["read"]["versions"] == {"1": ENOUGH}
    assert told["replayed"]["requests"] == told["verdict"]["samples"]["pairs"] == ENOUGH
    assert told["replayed"]["same"] == told["replayed"]["compared"] == ENOUGH
    assert told["remarks"] == []


def test_the_same_captures_give_the_same_verdict(busy: ReplayLine) -> None:
    busy.version(forecast(sharpness=3.0, fault="raises"))

    def decided() -> Any:
        _, told = busy.replay("--limit", "200")
        timed = ("latency", "slow_tail", "memory")
        return told["decision"], [check for check in told["verdict"]["checks"] if check["name"] not in timed]

    assert decided() == decided()


def test_swapped_classes_are_found_before_anything_is_deployed(busy: ReplayLine) -> None:
    busy.version(forecast(("snow", "rain", "sun")))
    ended, told = busy.replay("--version", "2", "--since", "12h")
    assert (ended.code, told["decision"], told["cause"]) == (1, "abort", "swapped_classes")


def test_a_candidate_that_raises_for_one_request_in_a_hundred_is_aborted(line: ReplayLine) -> None:
    line.write(POLICY.replace("max_error_rate = 0.01\n", ""))
    line.capture(Traffic(forecast()).send_all(weather(1500)))
    line.version(forecast(fault="raises", above=4.6))
    ended, told = line.replay()
    assert (ended.code, told["cause"]) == (1, "raises")
    assert "model_failed" in told["explanation"]


def test_a_run_that_does_not_end_is_ended_and_a_slow_candidate_given_up(line: ReplayLine) -> None:
    line.write(POLICY.replace("shadow_budget_mb", "shadow_budget_ms = 10\nshadow_budget_mb"))
    line.capture(Traffic(forecast()).send_all(weather()))
    line.version(forecast(fault="hangs", above=1.0))
    ended, told = line.replay()
    assert (ended.code, told["cause"]) == (1, "slow")
    assert told["replayed"]["requests"] + sum(told["replayed"]["left_out"].values()) == ENOUGH


def test_labels_decide_where_versions_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ReplayLine(tmp_path / "project", monkeypatch, capsys)
    wrong = forecast(("snow", "rain", "sun"))
    line.live(wrong)
    records = line.capture(Traffic(wrong).send_all(weather()))
    line.version(forecast())
    assert line.replay()[1]["cause"] == "swapped_classes"
    truths = Traffic(forecast())
    right = [truths.send(*record["instances"])["predictions"][0]["label"] for record in records]
    ids = [record["prediction_id"] for record in records]
    line.label([*zip(ids, right, strict=True), ("f" * 32, "sun")], records[0]["time"])
    ended, told = line.replay()
    assert (ended.code, told["decision"], told["read"]["labels"]) == (0, "promote", ENOUGH)


def test_too_few_requests_are_no_verdict_and_have_an_exit_code_of_their_own(line: ReplayLine) -> None:
    line.capture(Traffic(forecast()).send_all(weather(20)))
    line.version(forecast(sharpness=2))
    ended, told = line.replay()
    assert (ended.code, told["decision"]) == (6, "continue")
    assert "at least 50 are asked for" in told["reasons"][0]


def test_a_candidate_with_other_inputs_refuses_what_the_champion_takes(busy: ReplayLine) -> None:
    busy.version(forecast(inputs=("damp", "cold", "light")), accept_breaking="all are ready")
    _, told = busy.replay()
    assert (told["decision"], told["cause"]) == ("abort", "refuses_input")


# -- which requests ---------------------------------------------------------------------------------------------------


def test_what_another_version_took_is_left_out_where_the_champion_does_not_take_it(busy: ReplayLine) -> None:
    other = forecast(inputs=("damp", "cold", "light"))
    busy.registry().promote(NAME, busy.version(other, accept_breaking="all are ready").number)
    requests = [[{**one[0], "light": one[0]["bright"]}] for one in weather(30)]
    for request in requests:
        del request[0]["bright"]
    busy.capture(Traffic(other, version=2).send_all(requests))
    busy.version(forecast(sharpness=1.5), accept_breaking="back again")
    _, told = busy.replay("--against", "1")
    assert told["read"]["versions"] == {"1": ENOUGH, "2": 30}
    assert told["replayed"]["requests"] == ENOUGH
    assert sum(told["replayed"]["left_out"].values()) == 30
    assert all("version 2 answered" in said for said in told["replayed"]["left_out"])


def test_requests_with_redacted_inputs_are_left_out_and_counted(line: ReplayLine) -> None:
    line.capture(Traffic(forecast(), redact=["bright"]).send_all(weather(40)))
    line.version(forecast(sharpness=2))
    ended, told = line.replay()
    assert ended.code == 6
    assert told["replayed"] == {
        "requests": 0, "compared": 0, "same": 0, "noted": {},
        "left_out": {"inputs were redacted that are never missing otherwise": 40},
    }  # fmt: skip


def test_redacted_inputs_are_missing_ones_where_those_are_nothing_new(line: ReplayLine) -> None:
    line.capture(Traffic(forecast(), redact=["bright"]).send_all(weather()))
    field = {"dtype": "float32", "shape": [None, 1], "mode": "reject", "nulls": True}
    fields: dict[str, Any] = {name: dict(field) for name in INPUTS}
    fields["bright"]["null_rate"] = 0.1
    contract = {"format": 1, "rows": 100, "fields": fields}
    line.version(forecast(), contract=contract)
    line.version(forecast(sharpness=1.1), contract=contract)
    line.version(forecast(sharpness=1.2))
    ended, told = line.replay("--against", "2", "--version", "3")
    assert ended.code == 0
    assert told["replayed"]["noted"] == {"inputs were redacted, and asked as missing": ENOUGH}
    assert told["replayed"]["compared"] == 0
    _, other = line.replay("--against", "2")
    assert sum(other["replayed"]["left_out"].values()) == ENOUGH, "the candidate has never seen one missing"


def test_only_the_period_that_is_asked_for_is_replayed(busy: ReplayLine) -> None:
    busy.version(forecast(sharpness=2))
    ended = busy.run("replay", NAME, "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00+01:00")
    ended.refused(
        2, "no captured request of 'sums' was found since 2026-01-01T00:00:00.000000Z until 2026-01-01T23:00:00.000000Z"
    )
    assert "another --since or --until" in ended.next_steps[0], "what is captured may come after them"
    assert busy.replay("--until", "1h")[0].code == 2
    assert busy.replay("--since", "1h")[1]["replayed"]["requests"] == ENOUGH


def test_no_traffic_is_an_error_that_says_how_to_get_some(line: ReplayLine) -> None:
    line.version(forecast(sharpness=2))
    ended = line.run("replay", NAME)
    ended.refused(2, "no captured request of 'sums'")
    assert "capture = 0.1 in [monitoring] of models/sums/model.toml" in ended.next_steps[0]


# -- own code ---------------------------------------------------------------------------------------------------------


def own_code(line: ReplayLine, source: str) -> None:
    """Give the project's model code of its own, other than that with which the live version was registered."""
    line.write(POLICY + "\n[endpoint]\ntimeout_s = 1\n", model='code = "sums_model"\n')
    package = line.folder / "models" / NAME / "python" / "sums_model"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(
        f"{source}\n\n\ndef postprocess(outputs):\n"
        "    rows = zip(outputs['label'].tolist(), outputs['probabilities'].tolist(), strict=True)\n"
        "    names = ['rain', 'snow', 'sun']\n"
        "    return [{'label': name, 'probabilities': dict(zip(names, row, strict=True))} for name, row in rows]\n",
        encoding="utf-8",
    )


ENCODED = "{name: np.array([[one[name]] for one in instances], np.float32) for name in ('damp', 'cold', 'bright')}"
HARMLESS = f"import numpy as np\n\n\ndef preprocess(instances):\n    return {ENCODED}"


def on_rare(act: str) -> str:
    """Code that does something for one request in forty."""
    return HARMLESS.replace("    return", f"    if instances[0]['damp'] > 4:\n        {act}\n    return")


def test_code_that_answers_as_before_passes_beside_what_was_captured(busy: ReplayLine) -> None:
    own_code(busy, HARMLESS)
    ended, told = busy.replay("--version", "1")
    assert (ended.code, told["decision"]) == (0, "promote")
    assert told["champion"] == {"name": "version 1 as captured", "version": 1, "digest": None, "recorded": True}
    assert len(told["remarks"]) == 2
    assert all("code of its own" in remark for remark in told["remarks"])


@pytest.mark.parametrize(
    ("act", "cause", "said"),
    [
        ("__import__('os')._exit(3)", "raises", "exit status 3"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "raises", "SIGSEGV"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", "memory_leak", "SIGKILL"),
        ("while True: pass", "slow", "did not answer within 1 s"),
    ],
    ids=["ends the process", "crashes", "is killed", "does not end"],
)
def test_code_that_would_harm_an_endpoint_is_aborted_and_harms_nobody(
    busy: ReplayLine, act: str, cause: str, said: str
) -> None:
    own_code(busy, on_rare(act))
    ended, told = busy.replay("--version", "1", "--recorded")
    assert (ended.code, told["decision"], told["cause"]) == (1, "abort", cause)
    assert said in told["explanation"]
    assert told["replayed"]["left_out"]["not asked any more, because the candidate was given up"] > 0


def test_code_that_keeps_memory_is_given_up(busy: ReplayLine) -> None:
    own_code(busy, HARMLESS.replace("    return", "    kept.append(b'x' * 30_000_000)\n    return") + "\n\n\nkept = []")
    ended, told = busy.replay("--version", "1")
    assert (ended.code, told["cause"]) == (1, "memory_leak")
    assert "the process grew by" in told["explanation"]


def test_a_candidate_that_cannot_be_loaded_is_aborted_for_that(busy: ReplayLine) -> None:
    own_code(busy, "import a_package_that_nobody_has")
    ended, told = busy.replay("--version", "1")
    assert (ended.code, told["cause"]) == (1, "not_loaded")
    assert "a_package_that_nobody_has" in told["explanation"]


def test_a_champion_that_does_not_load_here_is_said_with_a_way_out(busy: ReplayLine) -> None:
    from modelyard.cli.bring import code_digest
    from modelyard.spec import load_model

    own_code(busy, "import a_package_that_nobody_has")
    digest = code_digest(load_model(busy.folder / "models" / NAME))
    busy.live(forecast(), code_digest=digest)
    busy.version(forecast(sharpness=2), code_digest=digest)
    ended = busy.run("replay", NAME)
    ended.refused(4, "the champion does not answer on this machine", "a_package_that_nobody_has")
    assert "--recorded" in ended.next_steps[0]


def test_code_finds_no_credentials_and_no_network(busy: ReplayLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    act = "assert not [name for name in os.environ if name.startswith('AWS')]"
    own_code(busy, "import os\n" + on_rare(act))
    assert busy.replay("--version", "1")[0].code == 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        act = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        own_code(busy, "import socket\n" + on_rare(act))
        _, told = busy.replay("--version", "1")
    assert told["verdict"]["checks"][0]["statistic"] > 0, "it raised, although somebody listened"


# -- files in the place of versions and buckets -----------------------------------------------------------------------


@pytest.fixture
def offline(line: ReplayLine, monkeypatch: pytest.MonkeyPatch) -> ReplayLine:
    """The project without AWS, with captures, labels and two models in files."""
    folder = line.folder / "downloads"
    files = Traffic(forecast()).send_all(weather()).files()
    for number, body in enumerate(files.values()):
        place = folder / "captures" / f"{number}"
        place.mkdir(parents=True)
        (place / "x.jsonl").write_bytes(body)
    records = [json.loads(text) for body in files.values() for text in body.splitlines()]
    labels = [{"prediction_id": one["prediction_id"], "label": one["predictions"][0]["label"]} for one in records]
    (folder / "feedback").mkdir()
    (folder / "feedback" / "x.jsonl").write_text("\n".join(map(json.dumps, labels)) + "\nno JSON\n")
    (line.folder / "old.onnx").write_bytes(forecast())
    (line.folder / "new.onnx").write_bytes(forecast(sharpness=1.2))
    (line.folder / "bad.onnx").write_bytes(forecast(("snow", "rain", "sun")))

    def refuse(_: Session) -> Any:
        raise AWSError("nobody may ask AWS")

    monkeypatch.setattr(Session, "registry", property(refuse))
    monkeypatch.setattr(Session, "clients", property(refuse))
    return line


LOCAL = ("--captures", "downloads", "--against-model", "old.onnx")


def test_files_are_replayed_without_any_aws(offline: ReplayLine) -> None:
    ended, told = offline.replay("--model", "new.onnx", *LOCAL)
    assert (ended.code, told["candidate"]["name"], told["champion"]["name"]) == (0, "new.onnx", "old.onnx")
    assert told["read"]["labels"] == ENOUGH
    assert told["read"]["bad"] == {"an unreadable line": 1}
    assert offline.replay("--model", "bad.onnx", *LOCAL)[1]["cause"] in ("swapped_classes", "worse_by_labels")


def test_captured_answers_stand_for_a_champion_whose_file_is_not_at_hand(offline: ReplayLine) -> None:
    ended, told = offline.replay("--model", "new.onnx", "--captures", "downloads", "--against", "1", "--recorded")
    assert (ended.code, told["champion"]["recorded"]) == (0, True)
    states = {check["name"]: check["state"] for check in told["verdict"]["checks"]}
    assert "latency" not in states, "what took how long elsewhere is not compared"
    _, other = offline.replay("--model", "new.onnx", "--captures", "downloads", "--against", "7", "--recorded")
    assert other["replayed"]["left_out"] == {"answered by another version than the champion": ENOUGH}


def test_a_file_that_would_not_be_registered_is_refused_before_anything_is_read(offline: ReplayLine) -> None:
    (offline.folder / "no.onnx").write_bytes(b"\x80\x04 pickle")
    offline.run("replay", NAME, "--model", "no.onnx", *LOCAL).refused(2, "a pickle")
    offline.run("replay", NAME, "--model", "gone.onnx", *LOCAL).refused(2, "gone.onnx is not a file")


def test_the_json_goes_into_a_file_as_well(offline: ReplayLine) -> None:
    ended = offline.run("replay", NAME, "--model", "new.onnx", *LOCAL, "--output", "verdict.json")
    assert "sums: new.onnx beside old.onnx, replayed  promote" in ended.done()
    assert json.loads((offline.folder / "verdict.json").read_text())["decision"] == "promote"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "x", "--version", "2"), "--version and --model"),
        (("--against", "1", "--against-model", "x"), "--against and --against-model"),
        (("--recorded", "--against-model", "x"), "--recorded and --against-model"),
        (("--since", ""), "since '' is not a time"),
        (("--since", "yesterday"), "since 'yesterday' is not a time"),
        (("--since", "7y"), "since '7y' is not a time"),
        (("--since", "-7d"), "since '-7d' is not a time"),
        (("--since", "2026-11-21T10:00:00"), "has no time zone"),
        (("--until", "soon"), "until 'soon' is not a time"),
        (("--since", "1h", "--until", "2h"), "is not before until"),
        (("--since", "2999-01-01T00:00:00Z"), "has not come yet"),
        (("--since", "99999w"), "more than 366 days"),
        (("--captures", "nowhere"), "nowhere is not a folder"),
        (("--captures", "models"), "holds no .jsonl file"),
        (("--output", "nowhere/x.json"), "cannot be written"),
        (("--version", "9"), "no version 9"),
        (("--against", "9"), "no version 9"),
        ((), "version 2 of 'sums' is the newest and the champion"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_replayed_is_refused_with_what_is_allowed(
    line: ReplayLine, arguments: tuple[str, ...], said: str
) -> None:
    (line.folder / "x").write_bytes(forecast())
    line.version(forecast(sharpness=2))
    if not arguments:
        line.registry().promote(NAME, 2)
    line.run("replay", NAME, *arguments).refused(2, said)


def test_a_model_without_a_live_version_needs_to_be_told_what_to_compare_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ReplayLine(tmp_path / "project", monkeypatch, capsys)
    line.version(forecast())
    ended = line.run("replay", NAME)
    ended.refused(4, "no live version")
    assert "--against" in ended.next_steps[0]


# -- how it looks -----------------------------------------------------------------------------------------------------

Made = Callable[[ReplayLine], None]


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_fits_a_terminal(busy: ReplayLine, width: int) -> None:
    import io

    from rich.console import Console

    from modelyard.cli.replay_view import view

    busy.version(forecast(("snow", "rain", "sun")))
    _, told = busy.replay()
    told["remarks"] = ["[bold]not markup[/] " + "word " * 100]
    told["replayed"]["left_out"] = {"a reason " * 20: 12_345_678}
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=False)
    console.print(view(told))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 45
    text = " ".join(" ".join(lines).split())
    for words in ("version 2 beside version 1", "abort (swapped_classes)", "agreement", "[bold]not markup[/]"):
        assert words in text
