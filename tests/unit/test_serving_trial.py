"""Versions on trial at an endpoint: who answers, who answers in whose place, and what callers notice, which is nothing.

The models add their number to the sum of a row, so an answer tells who gave it. Each test runs twice: as a function
answers, and as a server does, where others have their turn while an engine runs.
"""

import io
import json
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from modelyard.errors import AWSError, UsageError
from modelyard.predictor.lean import LeanEngine
from modelyard.serving.loading import Loader
from modelyard.serving.settings import EndpointSettings
from modelyard.serving.trial_settings import TrialSettings, redacted_inputs
from tests.fakes import onnx_models
from tests.fakes.endpoint import event
from tests.fakes.looped_endpoint import LoopedEndpoint
from tests.fakes.objects import pointer_to
from tests.fakes.trials import ENGINES, NAME, TrialStand, adds, four_versions, infer, lines


@pytest.fixture(autouse=True, params=["function", "server"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "server":
        monkeypatch.setattr("tests.fakes.trials.Endpoint", LoopedEndpoint)


@pytest.fixture
def stand(way: None) -> TrialStand:
    return four_versions()


# -- canary -----------------------------------------------------------------------------------------------------------


def test_each_version_answers_its_share_and_names_itself(stand: TrialStand) -> None:
    stand.canary({2: 20, 3: 30})
    found: Counter[int] = Counter()
    for number in range(2000):
        answer = stand.predict([0, 0], request_id=f"request-{number}").json
        assert answer["predictions"] == [float(answer["version"])]
        found[answer["version"]] += 1
    assert found[2] == pytest.approx(400, abs=75)
    assert found[3] == pytest.approx(600, abs=85)


@pytest.mark.parametrize("routing", ["caller", "header:X-Session", "field:x"])
def test_a_key_stays_with_its_version_whatever_the_request_id(routing: str) -> None:
    stand = TrialStand(adds(1), routing=routing)
    stand.files[2] = adds(2)
    stand.canary({2: 50})
    answers: dict[int, set[float]] = {}
    for number in range(400):
        who = number % 40
        made = event(
            "POST",
            f"/models/{NAME}/predict",
            json.dumps({"instances": [{"x": [who, 0]}, {"x": [number, 0]}]}),
            headers={"content-type": "application/json", "x-session": f"session-{who}"},
        )
        made["requestContext"]["authorizer"]["iam"]["userArn"] = f"arn:aws:iam::1:user/{who}"
        answer = stand.send(made, f"request-{number}").json
        answers.setdefault(who, set()).add(answer["version"])
    assert all(len(versions) == 1 for versions in answers.values())
    assert {next(iter(versions)) for versions in answers.values()} == {1, 2}


@pytest.mark.parametrize("routing", ["header:x-session", "field:other", "caller"])
def test_without_its_key_a_request_is_routed_by_its_id_and_the_audit_line_says_so(
    routing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = TrialStand(onnx_models.echo(("x", "float32", [None, 1]), ("y", "float32", [None, 1])), routing=routing)
    stand.files[2] = stand.files[1]
    stand.canary({2: 50})
    found = set()
    for number in range(50):
        made = event("POST", f"/models/{NAME}/predict", '{"instances": [{"x": 1, "y": 2}]}',
                     headers={"content-type": "application/json"})  # fmt: skip
        made["requestContext"].pop("authorizer")
        found.add(stand.send(made, f"request-{number}").json["version"])
    assert found == {1, 2}
    assert {line["routed_by"] for line in lines(capsys, "audit")} == {"request"}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_champion_answers_what_a_canary_fails_at(engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stand = TrialStand(adds(1), engine=engine)
    stand.files[2] = onnx_models.log_sum()  # NaN below zero
    stand.canary({2: 99.99})
    capsys.readouterr()
    failed = stand.predict([-3, 0], request_id="a").json
    assert (failed["version"], failed["predictions"]) == (1, [-2.0])
    assert stand.predict([1, 0], request_id="b").json["version"] == 2
    first, second = lines(capsys, "audit")
    assert (first["status"], first["version"], first["arm"], first["trial"]) == (200, 1, "2", "canary")
    assert (first["fallback"], first["fallbacks"]) == ({"version": 2, "code": "not_finite"}, 1)
    assert (second["version"], second["fallbacks"], "fallback" in second) == (2, 0, False)
    one, two = stand.records()
    assert (one["version"], one["predictions"], one["mode"]) == (1, [-2.0], "canary")
    assert (one["failed"]["version"], one["failed"]["code"]) == (2, "not_finite")
    assert (two["version"], two["predictions"], "failed" in two) == (2, [0.0], False)


def test_what_the_champion_refuses_as_well_is_the_callers_mistake(
    stand: TrialStand, capsys: pytest.CaptureFixture[str]
) -> None:
    stand.canary({2: 99.99})
    answer = stand.predict(["x", 0])
    assert (answer.status, answer.code) == (400, "wrong_type")
    (line,) = lines(capsys, "audit")
    assert (line["fallbacks"], line["version"]) == (0, 1)
    assert stand.records() == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_canary_that_does_not_end_is_ended_and_the_champion_answers(engine: Any) -> None:
    stand = TrialStand(adds(1), engine=engine, timeout_s=2.5)
    stand.files[2] = onnx_models.endless_below_zero()
    stand.canary({2: 99.99})
    began = time.monotonic()
    answer = stand.predict([-3, 0]).json
    assert (answer["version"], answer["predictions"]) == (1, [-2.0])
    assert 0.9 < time.monotonic() - began < 2.5
    assert stand.predict([1, 1]).json["predictions"] == [2.0]  # the session is none the worse for it
    assert [record.get("failed", {}).get("code") for record in stand.records()] == ["run_timeout", None]


def test_a_canary_that_was_ended_can_be_ended_again(stand: TrialStand) -> None:
    stand = TrialStand(adds(1), timeout_s=0.5)
    stand.files[2] = onnx_models.endless_below_zero()
    stand.canary({2: 99.99})
    for _ in range(3):
        assert stand.predict([-3, 0]).json["version"] == 1
        assert stand.predict([3, 0]).json["version"] == 2


def test_a_version_that_cannot_be_loaded_changes_nothing_for_callers_and_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand = TrialStand(adds(1))
    stand.files |= {2: b"no model", 3: adds(3)}
    stand.files[2] = adds(2)
    stand.canary({2: 40, 3: 40}, wait=False)
    pointer = json.loads(stand.objects.get(f"deployments/{NAME}.json")[0])
    stand.objects.put(pointer["challenger"]["key"], b"other bytes")
    stand.settle()
    versions = Counter(stand.predict([0, 0], request_id=f"r{number}").json["version"] for number in range(60))
    assert set(versions) == {1, 3}
    (told,) = [line for line in lines(capsys, "event") if line["event"] == "challenger_not_loaded"]
    assert (told["version"], told["code"]) == (2, "wrong_digest")
    failed = [(record["version"], record["failed"]) for record in stand.records() if "failed" in record]
    assert [(by, one["version"], one["code"]) for by, one in failed] == [(1, 2, "not_loaded")]
    assert stand.loads == [1, 3]


def test_a_challenger_that_s3_does_not_give_is_tried_again(stand: TrialStand) -> None:
    stand.canary({2: 99.99}, wait=False)
    away = AWSError("S3 is away")

    def refuse(key: str) -> None:
        if key.startswith("artifacts/"):
            raise away

    stand.objects.before_read = refuse
    stand.settle()
    assert stand.predict([0, 0]).json["version"] == 1
    stand.objects.before_read = lambda key: None
    stand.settle()
    assert stand.predict([0, 0]).json["version"] == 2


def test_requests_do_not_wait_for_a_challenger_to_load(stand: TrialStand) -> None:
    held = threading.Event()

    def hold(key: str) -> None:
        if key.startswith("artifacts/"):
            held.wait(10)

    stand.objects.before_read = hold
    stand.canary({2: 99.99}, wait=False)
    stand.follower.check_now()
    began = time.monotonic()
    assert stand.predict([0, 0]).json["version"] == 1
    assert time.monotonic() - began < 1
    held.set()
    stand.settle()
    assert stand.predict([0, 0]).json["version"] == 2


def held_up(stand: TrialStand, version: int) -> threading.Event:
    """Has S3 give a version only when the event is set."""
    may_go_on = threading.Event()
    key = pointer_to(NAME, stand.files[version], version=version, revision=1)["champion"]["key"]

    def hold(asked: str) -> None:
        if asked == key:
            may_go_on.wait(10)

    stand.objects.before_read = hold
    return may_go_on


def test_a_promotion_does_not_wait_for_a_challenger_to_load(stand: TrialStand) -> None:
    may_go_on = held_up(stand, 2)
    stand.canary({2: 99.99}, wait=False)
    stand.follower.check_now()
    began = time.monotonic()
    stand.champion = 3
    stand._publish("live", [], [], "", wait=False)
    stand.follower.check_now()
    assert stand.predict([0, 0]).json["version"] == 3
    assert time.monotonic() - began < 2
    may_go_on.set()
    stand.settle()
    assert stand.follower._challengers is not None
    assert stand.follower._challengers.loaded == []  # nobody wants it any more


def test_where_requests_are_rare_the_environment_is_kept_awake_until_a_challenger_is_loaded(stand: TrialStand) -> None:
    stand.follower._refresh_s = 3600.0
    may_go_on = held_up(stand, 2)
    stand.shadow(2, wait=False)
    stand.follower.check_now()
    stand.predict([0, 0])
    assert stand.follower.due()
    threading.Timer(0.2, may_go_on.set).start()
    began = time.monotonic()
    stand.follower.run()
    assert time.monotonic() - began > 0.1
    assert [live.version for live in stand.follower._challengers.loaded] == [2]
    assert not stand.follower.due()


def test_a_damaged_trial_leaves_the_champion_and_is_reported(
    stand: TrialStand, capsys: pytest.CaptureFixture[str]
) -> None:
    for damage in (
        {"slots": [{"until": 5000, "version": 1}]},
        {"slots": [{"until": 10_000, "version": 9}]},
        {"slots": [{"until": 0, "version": 2}, {"until": 10_000, "version": 1}]},
        {"slots": None},
        {"challenger": "two"},
        {"others": [5]},
        {"mode": "tournament"},
    ):
        stand.canary({2: 99.99}, damage=damage)
        assert stand.predict([0, 0]).json["version"] == 1, damage
        assert "trial_not_read" in {line["event"] for line in lines(capsys, "event")}, damage
    stand.canary({2: 99.99})
    assert stand.predict([0, 0]).json["version"] == 2


def test_a_change_of_shares_loads_nothing_and_loses_no_version_meanwhile(stand: TrialStand) -> None:
    stand.canary({2: 10})
    stand.canary({2: 99.99})
    stand.canary({2: 50, 3: 49.99})
    assert stand.loads == [1, 2, 3]
    assert {stand.predict([0, 0], request_id=f"r{number}").json["version"] for number in range(40)} == {2, 3}


def test_a_challenger_that_is_promoted_answers_at_once_without_another_load(stand: TrialStand) -> None:
    stand.canary({2: 99.99})
    assert stand.predict([0, 0]).json["version"] == 2
    predictor = stand.follower._challengers.get(2).predictor
    assert predictor.bounded_by is not None
    stand.promote(2)
    assert stand.predict([0, 0]).json["version"] == 2
    assert stand.loads == [1, 2]
    assert stand.follower.current().predictor is predictor
    assert predictor.bounded_by is None


@pytest.mark.parametrize("how", ["end", "promote", "another", "over budget"])
def test_the_memory_of_a_challenger_is_given_back_when_its_trial_ends(
    stand: TrialStand, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    freed = []
    release = LeanEngine.__del__
    monkeypatch.setattr(LeanEngine, "__del__", lambda engine: (freed.append(id(engine)), release(engine)))
    stand.shadow(2)
    stand.predict([0, 0])
    stand.records()
    challengers = stand.follower._challengers
    assert challengers is not None
    engine = id(challengers.get(2).predictor._engine)
    match how:
        case "end":
            stand.end()
        case "promote":
            stand.promote(3)
        case "another":
            stand.canary({3: 10})
        case _:
            challengers.drop(2, "memory_budget", "too much")
    stand.predict([0, 0])
    stand.records()
    ends = time.monotonic() + 5
    while engine not in freed and time.monotonic() < ends:
        time.sleep(0.01)
    assert engine in freed


def test_metrics_by_version_exist_while_versions_are_on_trial_and_only_then(
    stand: TrialStand, capsys: pytest.CaptureFixture[str]
) -> None:
    stand.predict([0, 0])
    stand.canary({2: 99.99})
    stand.predict([0, 0])
    before, after = lines(capsys, "audit")
    assert [directive["Dimensions"] for directive in before["_aws"]["CloudWatchMetrics"]] == [[["model"]]]
    assert {"arm", "trial", "fallbacks"}.isdisjoint(before)
    both = after["_aws"]["CloudWatchMetrics"]
    assert [directive["Dimensions"] for directive in both] == [[["model"]], [["model", "arm"]]]
    assert after["arm"] == "2"
    assert all(type(after[metric["Name"]]) in (int, float) for metric in both[1]["Metrics"])


def test_an_environment_that_is_wrong_about_trials_leaves_the_champion(
    stand: TrialStand, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Any:
        return TrialSettings.read({"MODELYARD_SHADOW_BUDGET_MS": "a lot"})

    stand.endpoint._make_on_trial = refuse
    stand.canary({2: 99.99})
    assert [stand.predict([0, 0]).json["version"] for _ in range(3)] == [1, 1, 1]
    assert infer(stand, [[1, 0]]).json["model_version"] == "1"
    (told,) = [line for line in lines(capsys, "event") if line["event"] == "trial_not_possible"]
    assert told["code"] == "invalid_settings"


@pytest.mark.parametrize(
    "variables",
    [
        {"MODELYARD_TRIAL_CAPTURE": "-1"}, {"MODELYARD_TIMEOUT_S": "inf"}, {"MODELYARD_SHADOW_BUDGET_MB": "nan"},
        {"MODELYARD_SHADOW_BUDGET_MS": "1e"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_trials_are_checked(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        TrialSettings.read(variables)
    assert refused.value.code == "invalid_settings"
    assert next(iter(variables)) in refused.value.message


@pytest.mark.parametrize("text", ["name", '{"name": 1}', "[1]", '["name"'])
def test_a_list_of_redacted_inputs_that_cannot_be_read_keeps_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        redacted_inputs({"MODELYARD_REDACT": text})


def test_a_version_for_which_there_is_no_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(EndpointSettings("sums", "bucket", 10.0, None, 128, "lean", one_by_one=True))
    stand = TrialStand(adds(1))
    stand.follower._load = loader
    monkeypatch.setattr("modelyard.serving.memory.resident_mb", lambda: 100.0)
    stand.files[2] = adds(2)
    stand.shadow(2)
    assert stand.predict([0, 0]).json["version"] == 1
    (record,) = stand.records()
    assert record["shadow"]["code"] == "not_loaded"
    assert "of the function's 128" in record["shadow"]["message"]


# -- other protocols --------------------------------------------------------------------------------------------------


def test_tensors_are_routed_and_fall_back_as_well() -> None:
    stand = TrialStand(adds(1))
    stand.files[2] = onnx_models.log_sum()
    stand.canary({2: 99.99})
    good, bad = infer(stand, [[1, 0], [1, 0]]), infer(stand, [[-3, 0]])
    assert (good.json["model_version"], good.json["outputs"][0]["data"]) == ("2", [0, 0])
    assert (bad.json["model_version"], bad.json["outputs"][0]["data"]) == ("1", [-2])
    one, two = stand.records()
    assert (one["version"], one["instances"], one["predictions"]) == (2, [{"x": [1, 0]}] * 2, [0, 0])
    assert (two["version"], two["failed"]["code"]) == (1, "not_finite")


def test_a_path_may_name_a_version_on_trial_and_nothing_stands_in_for_it(stand: TrialStand) -> None:
    stand.files[2] = onnx_models.log_sum()
    stand.canary({2: 0.01})
    assert infer(stand, [[1, 0]], version="/versions/2").json["model_version"] == "2"
    assert infer(stand, [[1, 0]], version="/versions/1").json["model_version"] == "1"
    assert infer(stand, [[-3, 0]], version="/versions/2").code == "not_finite"
    assert infer(stand, [[1, 0]], version="/versions/3").code == "unknown_version"
    metadata = stand.send(event("GET", f"/v2/models/{NAME}"))
    assert metadata.json["versions"] == ["1", "2"]
    assert stand.send(event("GET", f"/v2/models/{NAME}/versions/2/ready")).json["version"] == "2"
    assert [record["version"] for record in stand.records()] == []  # what was not routed is no evidence


def test_arrays_are_routed_and_fall_back_as_well() -> None:
    stand = TrialStand(adds(1), routing="field:x")
    stand.files[2] = onnx_models.log_sum()
    stand.canary({2: 99.99})
    for row, version in (([1, 0], "2"), ([-3, 0], "1")):
        file = io.BytesIO()
        np.save(file, np.array([row], dtype=np.float32))
        made = event("POST", f"/models/{NAME}/predict", file.getvalue(),
                     headers={"content-type": "application/x-npy", "accept": "application/x-npy"})  # fmt: skip
        answer = stand.send(made)
        assert (answer.status, answer.headers["modelyard-version"]) == (200, version)
    assert [record["instances"] for record in stand.records()] == [[{"x": [1, 0]}], [{"x": [-3, 0]}]]
