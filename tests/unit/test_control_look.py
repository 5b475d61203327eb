"""What a caller sees: models, versions, what is live, who changed it, and what retraining did."""

import msgspec
import pytest

from modelyard import deployment as deployments
from modelyard import version as versions
from modelyard.control import answers
from modelyard.control.routes import ROUTES
from modelyard.pointer_key import pointer_key
from modelyard.registry import records
from tests.fakes.control import MODEL, PARTS, ControlStand
from tests.fakes.gateway import CALLER, event


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand()


def test_the_app_answers_exactly_the_routes_that_the_stack_opens(stand: ControlStand) -> None:
    documented = {
        (method.upper(), path) for path, operations in stand.app.openapi()["paths"].items() for method in operations
    }
    assert documented | {("GET", "/docs"), ("GET", "/openapi.json")} == set(ROUTES)
    for method, path in ROUTES:
        stand.send(event(method, path.format(**PARTS)))
        assert stand.journal.lines[-1].route == f"{method} {path}"


def test_an_empty_registry_lists_nothing(stand: ControlStand) -> None:
    assert stand.get("/models").body == {"items": [], "next": None}


def test_models_are_listed_page_by_page(stand: ControlStand) -> None:
    for name in ("digits", "seattle_weather", "wine"):
        stand.register(b"a model", model=name, owner="team", description=f"About {name}")
    first = stand.get("/models", "limit=2").body
    rest = stand.get("/models", f"limit=2&start={first['next']}").body
    assert [line["name"] for line in first["items"] + rest["items"]] == ["digits", "seattle_weather", "wine"]
    assert rest["next"] is None
    assert first["items"][0] == {
        "name": "digits",
        "task": "binary",
        "description": "About digits",
        "owner": "team",
        "tags": [],
        "created_at": first["items"][0]["created_at"],
        **dict.fromkeys(("versions", "version", "is_live", "metrics")),
    }


def test_a_model_shows_what_is_live_of_it(stand: ControlStand) -> None:
    stand.with_versions(2)
    before = stand.get(f"/models/{MODEL}").body
    assert (before["deployment"], before["live"]) == (None, None)
    stand.promote(1)
    shown = stand.get(f"/models/{MODEL}").body
    assert (shown["versions"], shown["deployment"]["champion"]) == (2, 1)
    assert shown["live"] == stand.get(f"/models/{MODEL}/versions/1").body
    assert {"number", "signature", "contract"} <= set(shown["live"])


def test_versions_are_listed_newest_first(stand: ControlStand) -> None:
    stand.with_versions(3)
    first = stand.get(f"/models/{MODEL}/versions", "limit=2").body
    rest = stand.get(f"/models/{MODEL}/versions", f"limit=2&start={first['next']}").body
    assert [line["number"] for line in first["items"] + rest["items"]] == [3, 2, 1]
    assert "signature" not in first["items"][0]


def test_a_version_shows_everything_that_is_known_about_it(stand: ControlStand) -> None:
    stand.register(b"model 1", note="first", code_digest="ab" * 32)
    shown = stand.get(f"/models/{MODEL}/versions/1").body
    assert shown["signature"]["outputs"] == [
        {"name": "y", "dtype": "float32", "shape": [None, 2], "classes": ["rain", "sun"]}
    ]
    assert shown["lineage"]["code_digest"] == "ab" * 32
    assert (shown["note"], shown["author"], shown["size"]) == ("first", CALLER, 7)


def test_what_is_live_says_since_when_by_whom_and_why(stand: ControlStand) -> None:
    stand.with_versions(1)
    nothing = stand.get(f"/models/{MODEL}/deployment")
    assert (nothing.status, nothing.code) == (404, "nothing_live")
    stand.promote(1, reason="the first")
    live = stand.get(f"/models/{MODEL}/deployment").body
    assert (live["champion"], live["changed_by"], live["reason"], live["revision"]) == (1, CALLER, "the first", 1)


def test_the_history_tells_who_did_what_newest_first(stand: ControlStand) -> None:
    stand.with_versions(2)
    stand.promote(1)
    stand.promote(2, reason="better", operation="release-2")
    stand.rollback(reason="it was not")
    entries = stand.get(f"/models/{MODEL}/history").body["items"]
    kinds = ["rolled_back", "promoted", "promoted", "registered", "registered"]
    assert [entry["kind"] for entry in entries] == kinds
    assert {entry["actor"] for entry in entries} == {CALLER}
    assert (entries[1]["operation"], entries[1]["reason"], entries[0]["steps"]) == ("release-2", "better", 1)


def test_the_history_goes_on_where_a_page_ended(stand: ControlStand) -> None:
    stand.with_versions(5)
    seen, query = [], "limit=2"
    while query:
        page = stand.get(f"/models/{MODEL}/history", query).body
        seen += [entry["version"] for entry in page["items"]]
        query = f"limit=2&start={page['next'].replace('#', '%23')}" if page["next"] else ""
    assert seen == [5, 4, 3, 2, 1]


def test_an_earlier_time_gives_what_was_live_then_and_the_entries_until_then(stand: ControlStand) -> None:
    stand.with_versions(2)
    first, second = stand.promote(1).body, stand.promote(2).body
    then = stand.get(f"/models/{MODEL}/history", f"at={first['changed_at']}").body
    assert then["deployment"] == first
    assert [entry["kind"] for entry in then["items"]] == ["promoted", "registered", "registered"]
    assert stand.get(f"/models/{MODEL}/history", f"at={second['changed_at']}&limit=1").body["deployment"] == second
    before = stand.get(f"/models/{MODEL}/history", "at=2020-01-01T00:00:00Z").body
    assert (before["deployment"], before["items"], before["at"]) == (None, [], "2020-01-01T00:00:00.000000Z")
    offset = stand.get(f"/models/{MODEL}/history", "at=2020-01-01T01:00:00%2B01:00").body
    assert offset["at"] == "2020-01-01T00:00:00.000000Z"


def test_runs_are_listed_even_before_the_first_version(stand: ControlStand) -> None:
    registry = stand.registry("workflow")
    registry.record_run(MODEL, "run-1", status="running", object={"key": f"{MODEL}/a.csv"})
    registry.record_run(MODEL, "run-2", status="rejected", reason="no better")
    listed = stand.get(f"/models/{MODEL}/runs").body["items"]
    assert [(run["run_id"], run["status"]) for run in listed] == [("run-2", "rejected"), ("run-1", "running")]
    assert listed[1]["object"] == {"key": f"{MODEL}/a.csv"}


@pytest.mark.parametrize(
    "path", ["", "/versions", "/versions/1", "/versions/1/card", "/deployment", "/history", "/runs", "/notes"]
)
def test_a_model_that_does_not_exist_is_not_found(stand: ControlStand, path: str) -> None:
    answer = stand.get(f"/models/nothing_here{path}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert "nothing_here" in answer.body["detail"]


def test_a_model_that_does_not_exist_has_no_past_either(stand: ControlStand) -> None:
    assert stand.get("/models/nothing_here/history", "at=2026-01-01T00:00:00Z").status == 404


def test_looking_changes_nothing(stand: ControlStand) -> None:
    stand.with_versions(2)
    stand.promote(1)
    stand.registry().start_rollout(MODEL, 2)
    before = [(sk, stand.records.get(f"MODEL#{MODEL}", sk)) for sk in stand.records._order[f"MODEL#{MODEL}"]]
    pointer = stand.artifacts.get(pointer_key(MODEL))
    for method, path in ROUTES:
        if method == "GET":
            assert stand.get(path.format(**PARTS)).status == 200
    assert before == [(sk, stand.records.get(f"MODEL#{MODEL}", sk)) for sk in stand.records._order[f"MODEL#{MODEL}"]]
    assert stand.artifacts.get(pointer_key(MODEL)) == pointer


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        (answers.ModelLine, records.CatalogueLine),
        (answers.FoundModel, records.Found),
        (answers.Notes, records.Notes),
        (answers.LedgerEntry, deployments.LedgerEntry),
        (answers.Run, records.Run),
        (answers.Tensor, versions.TensorSpec),
        (answers.OutputTensor, versions.OutputSpec),
        (answers.Signature, versions.Signature),
        (answers.Lineage, versions.Lineage),
        (answers.TrainingObject, versions.TrainingObject),
    ],
)
def test_an_answer_has_the_fields_of_its_record(answer: type[answers.Answer], record: type[msgspec.Struct]) -> None:
    assert set(answer.model_fields) == set(record.__struct_fields__)


def test_a_deployment_says_shares_and_not_how_they_are_kept() -> None:
    kept = {"slots", "salt"}
    assert set(answers.Deployment.model_fields) == {*deployments.Deployment.__struct_fields__, "shares"} - kept


def test_a_model_on_trial_shows_every_share(stand: ControlStand) -> None:
    stand.with_versions(3)
    stand.promote(1)
    stand.registry().start_split(MODEL, {2: 5, 3: 0.25})
    shown = stand.get(f"/models/{MODEL}/deployment").body
    assert (shown["challenger"], shown["others"], shown["split"]) == (2, [3], 5)
    assert shown["shares"] == {"1": 94.75, "2": 5, "3": 0.25}


def test_a_version_has_the_fields_of_its_manifest_beside_its_own() -> None:
    fields = {*versions.Manifest.__struct_fields__, *versions.Version.__struct_fields__} - {"manifest"}
    assert set(answers.Version.model_fields) == fields
