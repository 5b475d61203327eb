"""The prepare step: from the data set to a job, with rows that judge and are never learnt from."""

import csv
import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from modelyard.retraining import preparing
from modelyard.training import table
from modelyard.training.freezing import FrozenRows
from modelyard.training.plan import Plan, decode_plan
from tests.fakes.registries import register
from tests.fakes.training_data import csv_file, dealt_weather, plan, weather_plan
from tests.fakes.trigger_events import manual_input
from tests.fakes.workbench import Bench

FIRST, SECOND, THIRD, FOURTH = dealt_weather()
Row = dict[str, str]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def numbers(*spans: range, label: Callable[[int], str] = lambda at: "low" if at % 100 < 50 else "high") -> bytes:
    """A file with an id and a number for each place of the spans; the number tells the class."""
    return csv_file(["id", "x", "y"], [[f"row {at}", at % 100 + at / 1000, label(at)] for span in spans for at in span])


def binary(**changes: Any) -> Plan:
    return plan(**{"target": "y", "features": {"x": "number"}, "task": "binary"} | changes)


def started(bench: Bench, file: bytes, run_id: str, name: str | None = None) -> dict[str, Any]:
    """The state before the prepare step."""
    state = bench.accept(file, name or f"{run_id}.csv", run_id)
    bench.turn(state, run_id)
    return state


def prepared(bench: Bench, file: bytes, run_id: str, name: str | None = None) -> dict[str, Any]:
    """The state of a run that prepared, gave its turn back and left no version."""
    state = started(bench, file, run_id, name)
    bench.prepare(state, run_id)
    bench.conclude(dict(state), "failed", run_id)
    return state


def prepared_and_used(bench: Bench, file: bytes, run_id: str = "run-1") -> dict[str, Any]:
    """The state of a first run that a version came of: from then on the frozen rows stay."""
    state = prepared(bench, file, run_id)
    register(bench.registry, "tested", b"a model")
    return state


def rows(document: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(document.decode())))


def job(bench: Bench, state: dict[str, Any], name: str) -> list[Row]:
    """The rows of one file of a job."""
    return rows(bench.yard.artifacts.objects[f"{state['prepared']['job']}/in/{name}.csv"])


def frozen(bench: Bench) -> list[Row]:
    """The rows of the set that is in force."""
    found = bench.registry.evaluation_set("tested")
    assert found is not None
    stored = FrozenRows.from_csv(bench.yard.artifacts.objects[found.key])
    return [dict(zip(stored.header, row, strict=True)) for row in stored.rows]


def record(bench: Bench, state: dict[str, Any]) -> dict[str, Any]:
    return bench.document(state["prepared"]["record_key"])


# -- the job ----------------------------------------------------------------------------------------------------------


def test_a_job_holds_rows_to_learn_from_and_the_frozen_ones_without_their_answer(bench: Bench) -> None:
    state = prepared(bench, FIRST, "run-1")
    answer = state["prepared"]
    assert answer["rows"] == {"read": 366, "duplicates": 0, "training": 293, "evaluation": 73}
    learnt, asked = job(bench, state, "training"), job(bench, state, "evaluation")
    columns = list(bench.plan.training.features)
    assert list(learnt[0]) == [*columns, "weather"]
    assert list(asked[0]) == columns, "the answer does not travel with the question"
    assert {row["date"] for row in learnt} | {row["date"] for row in asked} == {row["date"] for row in rows(FIRST)}
    assert not {row["date"] for row in learnt} & {row["date"] for row in asked}
    assert [row["date"] for row in asked] == [row["date"] for row in frozen(bench)], "in one order"
    assert decode_plan(bench.document(f"{answer['job']}/in/plan.json")) == bench.plan
    assert (answer["files"], answer["where"], answer["ablation"]) == (1, "lambda", None)


def test_a_preparation_that_is_repeated_gives_the_same_answer_and_the_same_files(bench: Bench) -> None:
    state = started(bench, FIRST, "run-1")
    first, objects = bench.prepare(state, "run-1"), dict(bench.yard.artifacts.objects)
    assert bench.prepare(state, "run-1") == first
    assert bench.yard.artifacts.objects == objects
    assert len(bench.registry.evaluation_sets("tested")) == 1


def test_what_is_repeated_after_another_file_came_is_another_job(bench: Bench) -> None:
    state = started(bench, FIRST, "run-1")
    first = bench.prepare(state, "run-1")
    register(bench.registry, "tested", b"a model")
    bench.accept(SECOND, "second.csv", "run-2")
    again = bench.prepare(state, "run-1")
    assert again["job"] != first["job"]
    assert again["rows"]["training"] == 658
    assert bench.yard.artifacts.objects[f"{first['job']}/in/training.csv"], "the first stays as it was"


def test_each_file_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.accept(SECOND, "second.csv", "run-0")
    state = started(bench, FIRST, "run-1")
    read = []
    read_records = table.read_records

    def counted(content: bytes, **settings: Any) -> Any:
        read.append(content)
        return read_records(content, **settings)

    monkeypatch.setattr(table, "read_records", counted)
    bench.prepare(state, "run-1")
    assert [read.count(file) for file in (FIRST, SECOND)] == [1, 1]


def test_rows_that_come_again_count_once_and_rows_of_one_file_as_often_as_it_has_them(bench: Bench) -> None:
    state = prepared(bench, FIRST + b"\n".join(FIRST.splitlines()[1:11]), "run-1")
    rows = state["prepared"]["rows"]
    assert (rows["read"], rows["duplicates"], rows["training"] + rows["evaluation"]) == (376, 0, 376)


def test_without_any_file_there_is_nothing_to_learn_from(bench: Bench) -> None:
    state = bench.by_hand("run-1")
    answer = bench.prepare(state, "run-1")
    assert (answer["status"], answer["reason"]) == (
        "refused",
        "the data set is empty: no training file was accepted yet",
    )


def test_data_larger_than_the_memory_is_refused_before_it_is_read(bench: Bench) -> None:
    state = started(bench, FIRST, "run-1")
    bench.registry.add_dataset_file(
        "tested", bucket="data-bucket", key="tested/big.csv", version_id="v0", sha256="ab" * 32, rows=10**7,
        size=300 * 2**20, run_id="run-0",
    )  # fmt: skip
    bench.with_memory(3008)
    bench.uploads.reads.clear()
    answer = bench.prepare(state, "run-1")
    assert answer["status"] == "refused"
    assert "have 300.0 MB together; with 3,008 MB of memory this step takes 125.3 MB at most" in answer["reason"]
    assert bench.uploads.reads == []


def test_data_that_no_place_can_train_on_is_refused_with_what_to_do() -> None:
    bench = Bench(binary(features={"x": "number", "said": "text"}, memory_mb=512))
    long = [[at, f"{at} {'and so on ' * 10_000}", "low" if at < 100 else "high"] for at in range(200)]
    state = started(bench, csv_file(["x", "said", "y"], long), "run-1")
    answer = bench.prepare(state, "run-1")
    assert answer["status"] == "refused"
    assert "MB of rows are above the 12.8 MB that 512 MB of memory take; raise training.memory_mb" in answer["reason"]


def test_refused_data_has_a_document_that_says_why(bench: Bench) -> None:
    bench.plan = weather_plan(split={"by": "group", "column": "weather station"})
    head, *days = FIRST.decode().splitlines()
    file = "\n".join([f"{head},weather station", *(f"{day},the only one" for day in days)]).encode()
    state = bench.run(bench.upload(file), "run-1")
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.report) == ("rejected", state["prepared"]["report_key"])
    assert run.reason.startswith("366 rows are too few to be divided: 366 would be frozen for evaluation and 0 left")
    document = bench.report(state)
    assert (document["passed"], document["metrics"], document["champion"]) == (False, {}, None)
    assert document["reason"].endswith("those of one time or group, stay together)")
    assert document["plan"]["model"] == "tested"
    assert bench.registry.evaluation_set("tested") is None


def test_an_error_that_is_not_the_datas_is_a_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.errors import UsageError

    def choose(*_: Any, **__: Any) -> None:
        raise UsageError("the plan says what no code does", code="invalid_plan")

    monkeypatch.setattr(preparing, "choose", choose)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert (state["conclusion"]["status"], state["error"]["Error"]) == ("failed", "UsageError")


# -- the frozen rows --------------------------------------------------------------------------------------------------


def test_the_frozen_rows_are_chosen_once_and_never_learnt_from_whatever_comes_later() -> None:
    bench = Bench(binary())
    prepared_and_used(bench, numbers(range(300)), "run-1")
    chosen = frozen(bench)
    assert len(chosen) == 60
    ids = {row["id"] for row in chosen}
    uploads: dict[str, bytes] = {
        "more rows": numbers(range(1000, 1300)),
        "the same rows in another order among new ones": numbers(range(2000, 2100), range(299, -1, -1)),
        "a corrected label": numbers(
            range(300), range(3000, 3010), label=lambda at: "high" if at % 100 < 70 else "low"
        ),
        "a column more": csv_file(
            ["note", "id", "x", "y"],
            [["n", row["id"], row["x"], row["y"]] for row in rows(numbers(range(300), range(4000, 4010)))],
        ),
        "another spelling and a column less": csv_file(
            ["y", "x"], [[row["y"], f"{float(row['x']):.6e}"] for row in rows(numbers(range(300), range(5000, 5010)))]
        ),
    }
    for at, (name, file) in enumerate(uploads.items()):
        state = prepared(bench, file, f"later-{at}", f"{name}.csv")
        learnt = job(bench, state, "training")
        questions = {float(row["x"]) for row in chosen}
        assert not {float(row["x"]) for row in learnt} & questions, name
        assert frozen(bench) == chosen
    assert len(ids) == 60
    assert len(bench.registry.evaluation_sets("tested")) == 1


def test_a_row_stays_frozen_when_its_file_gets_a_column_that_another_file_had_before() -> None:
    """Of two first files one has a note; then the other one comes again with notes."""
    bench = Bench(binary())
    with_note = csv_file(
        ["id", "x", "y", "note"], [[*row.values(), "seen twice"] for row in rows(numbers(range(1000, 1100)))]
    )
    bench.accept(numbers(range(100)), "plain.csv", "run-0")
    prepared(bench, with_note, "run-1")
    chosen = {row["id"] for row in frozen(bench)}
    assert any(int(name.split()[1]) < 1000 for name in chosen)
    again = csv_file(["id", "x", "y", "note"], [[*row.values(), "late"] for row in rows(numbers(range(200)))])
    state = prepared(bench, again, "run-2")
    learnt = {float(row["x"]) for row in job(bench, state, "training")}
    assert not learnt & {float(row["x"]) for row in frozen(bench)}


def test_a_column_that_was_there_all_along_can_become_a_feature(bench: Bench) -> None:
    """The frozen rows are kept whole, so nothing has to be frozen anew."""
    bench.plan = weather_plan(features={"date": "date", "wind": "number"})
    prepared_and_used(bench, FIRST, "run-1")
    bench.plan = weather_plan()
    state = prepared(bench, SECOND, "run-2")
    assert list(job(bench, state, "evaluation")[0]) == ["date", "precipitation", "temp_max", "temp_min", "wind"]
    assert len(bench.registry.evaluation_sets("tested")) == 1


def test_a_new_column_that_the_frozen_rows_lack_is_refused_with_what_to_do() -> None:
    bench = Bench(binary())
    prepared_and_used(bench, numbers(range(100)), "run-1")
    bench.plan = binary(features={"x": "number", "z": "number"})
    wider = csv_file(
        ["id", "x", "y", "z"], [[*row.values(), at % 7] for at, row in enumerate(rows(numbers(range(500, 600))))]
    )
    state = bench.run(bench.upload(wider, "wider.csv"), "run-2")
    assert state["conclusion"]["status"] == "rejected"
    assert state["conclusion"]["reason"].startswith("evaluation set 1: column 'z' is missing; the header has 'id', 'x'")
    assert "modelyard dataset tested --refresh-evaluation --reason" in state["conclusion"]["reason"]
    bench.registry.request_refresh("tested", reason="z is new")
    again = bench.run(bench.upload(wider.replace(b"row 500", b"row 999"), "wider.csv"), "run-3")
    assert again["promoted"]["version"] == 2
    assert again["prepared"]["rows"]["evaluation"] == 20


def test_nothing_is_frozen_where_nothing_would_be_left_to_learn_from() -> None:
    """A first file that is refused must not choose the rows that judge every later model."""
    bench = Bench(binary(split={"by": "time", "column": "day"}))
    days = [[f"2012-01-{at:02}", at, "low" if at <= 20 else "high"] for at in range(1, 26)]
    state = bench.run(bench.upload(csv_file(["day", "x", "y"], days), "a.csv"), "run-1")
    assert state["conclusion"]["reason"] == (
        "all 20 rows to train on are of class 'low'; the others are frozen for evaluation"
    )
    assert bench.registry.evaluation_set("tested") is None


def test_whoever_freezes_first_freezes_for_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in their first training at once, with other files: both go on with the rows of one of them."""
    state = started(bench, FIRST, "run-1")
    other = Bench(weather_plan())
    other.yard, other.registry, other.workbench = bench.yard, bench.registry, bench.workbench
    freeze = bench.registry.freeze_evaluation_set

    def second(*arguments: Any, **parts: Any) -> Any:
        monkeypatch.setattr(bench.registry, "freeze_evaluation_set", freeze)
        bench.yard.artifacts.put_if_absent("evaluation_sets/tested/theirs.csv", theirs, content_type="text/csv")
        freeze("tested", number=1, key="evaluation_sets/tested/theirs.csv", sha256="ab" * 32, rows=2, rule="by hand",
               run_id="run-0")  # fmt: skip
        return freeze(*arguments, **parts)

    theirs = b"\n".join(FIRST.splitlines()[:3])
    monkeypatch.setattr(bench.registry, "freeze_evaluation_set", second)
    answer = bench.prepare(state, "run-1")
    assert answer["rows"] == {"read": 366, "duplicates": 0, "training": 364, "evaluation": 2}
    assert [row["date"] for row in job(bench, state, "evaluation")] == [
        line.split(",")[0] for line in theirs.decode().splitlines()[1:]
    ]


# -- another evaluation set -------------------------------------------------------------------------------------------


def test_another_set_is_frozen_only_after_somebody_asked_and_said_why() -> None:
    bench = Bench(binary())
    prepared_and_used(bench, numbers(range(100)), "run-1")
    first = bench.registry.evaluation_set("tested")
    prepared(bench, numbers(range(500, 600)), "run-2")
    assert bench.registry.evaluation_set("tested") == first
    bench.registry.request_refresh("tested", reason="a new sensor")
    state = prepared(bench, numbers(range(700, 800)), "run-3")
    second = bench.registry.evaluation_set("tested")
    assert second is not None
    assert (second.number, second.reason, second.run_id) == (2, "a new sensor", "run-3")
    assert record(bench, state)["evaluation_set"]["number"] == 2
    assert bench.prepare(state, "run-3")["digest"] == state["prepared"]["digest"], "once"
    assert prepared(bench, numbers(range(900, 950)), "run-4")["prepared"]["rows"]["evaluation"] == second.rows
    assert len(bench.registry.evaluation_sets("tested")) == 2
    others = {"failed", "registered"}
    kinds = [entry.kind for entry in bench.registry.history("tested").items if entry.kind not in others]
    assert kinds == ["evaluation_frozen", "refresh_requested", "evaluation_frozen"]


def test_a_refreshed_set_holds_only_rows_that_the_champion_has_not_seen() -> None:
    bench = Bench(binary())
    first = bench.run(bench.upload(numbers(range(300)), "first.csv"), "run-1")
    seen = {row["x"] for row in job(bench, first, "training")}
    bench.registry.request_refresh("tested", reason="a new sensor")
    state = prepared(bench, numbers(range(1000, 1300)), "run-2")
    chosen = {row["x"] for row in frozen(bench)}
    assert len(chosen) == 120
    assert not chosen & seen
    assert not chosen & {row["x"] for row in job(bench, state, "training")}


def test_rows_that_the_champion_saw_in_a_file_that_was_replaced_are_not_unseen() -> None:
    """The corrected file has other bytes and the same rows."""
    bench = Bench(binary())
    first = bench.run(bench.upload(numbers(range(300)), "same.csv"), "run-1")
    seen = {row["x"] for row in job(bench, first, "training")}
    bench.registry.request_refresh("tested", reason="labels were corrected")
    corrected = numbers(range(300), range(1000, 1100), label=lambda at: "low" if at % 100 < 48 else "high")
    prepared(bench, corrected, "run-2", "same.csv")
    assert not {row["x"] for row in frozen(bench)} & seen


def test_where_the_report_of_the_champion_is_gone_all_rows_of_its_files_count_as_seen() -> None:
    bench = Bench(binary())
    first = bench.run(bench.upload(numbers(range(300)), "first.csv"), "run-1")
    del bench.yard.artifacts.objects[first["evaluation"]["report_key"]]
    bench.registry.request_refresh("tested", reason="a new sensor")
    prepared(bench, numbers(range(1000, 1300)), "run-2")
    assert min(int(row["id"].split()[1]) for row in frozen(bench)) >= 1000


def test_of_a_champion_that_was_brought_nobody_knows_what_it_has_seen() -> None:
    bench = Bench(binary())
    prepared(bench, numbers(range(100)), "run-1")
    register(bench.registry, "tested", b"model")
    bench.registry.promote("tested", 1, reason="brought")
    bench.registry.request_refresh("tested", reason="a new sensor")
    prepared(bench, numbers(range(1000, 1100)), "run-2")
    places = [int(row["id"].split()[1]) for row in frozen(bench)]
    assert min(places) < 100
    assert max(places) >= 1000


def test_a_refresh_without_any_unseen_row_is_refused_and_the_old_set_stays() -> None:
    bench = Bench(binary())
    first = bench.run(bench.upload(numbers(range(300)), "first.csv"), "run-1")
    del bench.yard.artifacts.objects[first["evaluation"]["report_key"]]
    bench.registry.request_refresh("tested", reason="a new sensor")
    state = bench.run(manual_input(), "run-2")
    assert state["conclusion"]["status"] == "rejected"
    assert state["conclusion"]["reason"].startswith("300 rows are too few to be divided: 0 would be frozen")
    assert len(bench.registry.evaluation_sets("tested")) == 1


# -- nothing new ------------------------------------------------------------------------------------------------------


def test_the_same_rows_and_champion_are_not_learnt_from_twice(bench: Bench) -> None:
    bench.run(bench.upload(FIRST), "run-1")
    state = bench.by_hand("run-2")
    answer = bench.prepare(state, "run-2")
    assert answer["status"] == "unchanged"
    assert answer["reason"].startswith("nothing new to learn: run run-1 learnt from the same rows and ended promoted")
    assert set(answer) == {"status", "reason"}


def test_a_person_may_ask_to_learn_again(bench: Bench) -> None:
    bench.run(bench.upload(FIRST), "run-1")
    state = bench.by_hand("run-2", again=True)
    assert bench.prepare(state, "run-2")["status"] == "prepared"


def test_a_repeated_step_does_not_take_its_own_outcome_for_an_earlier_one(bench: Bench) -> None:
    state = bench.run(bench.upload(FIRST), "run-1")
    assert bench.prepare(state, "run-1")["status"] == "prepared"


def test_with_another_champion_the_same_rows_are_compared_again(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert bench.prepare(bench.by_hand("run-3"), "run-3")["status"] == "unchanged"
    bench.conclude({}, "failed", "run-3")
    bench.registry.rollback("tested", reason="it was wrong")
    assert bench.prepare(bench.by_hand("run-4"), "run-4")["status"] == "unchanged", "it lost to that one"
    bench.conclude({}, "failed", "run-4")
    first = bench.registry.version("tested", 1).manifest
    model = bench.yard.artifacts.objects[first.key]
    register(bench.registry, "tested", model, task="multiclass", signature=first.signature, contract=first.contract)
    bench.registry.promote("tested", 3, reason="brought")
    assert bench.prepare(bench.by_hand("run-5"), "run-5")["status"] == "prepared"


def test_what_starts_runs_and_who_owns_the_model_is_nothing_new_and_a_setting_is(bench: Bench) -> None:
    bench.run(bench.upload(FIRST), "run-1")
    bench.plan = msgspec.structs.replace(weather_plan(triggers=[{"kind": "upload", "minimum_rows": 7}]), automatic=True)
    assert bench.prepare(bench.by_hand("run-2"), "run-2")["status"] == "unchanged"
    bench.conclude({}, "failed", "run-2")
    bench.plan = weather_plan(grids={"logistic_regression": {"C": [1.0]}})
    assert bench.prepare(bench.by_hand("run-3"), "run-3")["status"] == "prepared"


def test_a_failure_is_no_outcome_to_remember(bench: Bench) -> None:
    prepared(bench, FIRST, "run-1")
    assert bench.prepare(bench.by_hand("run-2"), "run-2")["status"] == "prepared"


# -- without the newest file ------------------------------------------------------------------------------------------


def test_a_person_may_ask_what_the_newest_file_changed(bench: Bench) -> None:
    bench.accept(FIRST, "1.csv", "run-0")
    bench.accept(SECOND, "2.csv", "run-1")
    state = bench.by_hand("run-2", ablate=True)
    found = bench.prepare(state, "run-2")["ablation"]
    learnt, without = (
        job(bench, state, "training"),
        rows(bench.yard.artifacts.objects[f"{found['job']}/in/training.csv"]),
    )
    assert (found["file"], found["rows"]) == ("2.csv", len(learnt) - len(without))
    days = {row["date"] for row in rows(FIRST)}
    assert without == [row for row in learnt if row["date"] in days]
    assert rows(bench.yard.artifacts.objects[f"{found['job']}/in/evaluation.csv"]) == job(bench, state, "evaluation")


def test_the_only_file_cannot_be_left_out(bench: Bench) -> None:
    bench.accept(FIRST, "1.csv", "run-0")
    assert bench.prepare(bench.by_hand("run-2", ablate=True), "run-2")["ablation"] is None


# -- a second upload of bytes that are gone ---------------------------------------------------------------------------


def test_the_bytes_of_a_second_upload_stand_for_a_first_one_that_was_deleted(bench: Bench) -> None:
    first = bench.accept(FIRST, "first.csv", "run-0")["claim"]["object"]
    bench.accept(SECOND, "second.csv", "run-1")
    bench.uploads.delete_version(first["key"], first["version_id"])
    state = started(bench, FIRST, "run-2", "again.csv")
    bench.prepare(state, "run-2")
    assert [file["key"] for file in record(bench, state)["files"]] == ["tested/again.csv", "tested/second.csv"]
    assert record(bench, state)["left_out"] == []
