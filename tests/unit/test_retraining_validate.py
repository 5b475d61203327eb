"""The validate step: what is wrong with a file is said in words, and what is right joins the data set, once."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.training.freezing import FrozenRows, are_frozen
from modelyard.training.table import read_table
from tests.fakes.registries import register
from tests.fakes.training_data import csv_file, dealt_weather, plan, weather, weather_plan
from tests.fakes.workbench import Bench

YEAR = weather(2012)[0]
NEXT = weather(2013)[0]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan(triggers=[{"kind": "upload", "minimum_rows": 30}]))


def edited(change: Callable[[list[list[str]]], Any], file: bytes = NEXT) -> bytes:
    """The file after ``change`` had its rows, header first."""
    rows = list(csv.reader(io.StringIO(file.decode())))
    changed = change(rows)
    rows = rows if changed is None else changed
    return csv_file(rows[0], rows[1:])


def column(name: str, value: Callable[[int, dict[str, str]], str]) -> Callable[[list[list[str]]], None]:
    """Sets one column; ``value`` gets the row's number and its cells."""

    def change(rows: list[list[str]]) -> None:
        at = rows[0].index(name)
        for number, row in enumerate(rows[1:]):
            row[at] = value(number, dict(zip(rows[0], row, strict=True)))

    return change


def test_a_good_file_is_valid_and_joins_the_data_set(bench: Bench) -> None:
    state = bench.accept(YEAR)
    verdict = state["validation"]
    assert verdict == {
        "status": "valid",
        "findings": [],
        "remarks": [],
        "rows": 366,
        "sha256": verdict["sha256"],
        "reason": "",
    }
    (file,) = bench.registry.dataset_files("tested")
    found = state["claim"]["object"]
    assert (file.key, file.version_id, file.sha256) == (found["key"], found["version_id"], verdict["sha256"])
    assert (file.rows, file.size, file.run_id, file.bucket) == (366, len(YEAR), "run-1", "data-bucket")


def _text(file: bytes) -> str:
    return file.decode()


INVALID: dict[str, tuple[bytes, str]] = {
    "a header only": (NEXT.splitlines()[0], "has a header and no rows"),
    "blank lines": (b"\n\n  \n", "is empty"),
    "no target": (edited(lambda rows: [row[:-1] for row in rows]), "column 'weather' is missing"),
    "no header": (b"\n".join(NEXT.splitlines()[1:]), "column 'date' is missing"),
    "one class only": (
        edited(column("weather", lambda *_: "rain")),
        "target 'weather' has one class only ('rain', 365 rows)",
    ),
    "a column of nulls": (edited(column("wind", lambda *_: "")), "column 'wind' is empty in all 365 rows"),
    "values of two columns swapped": (
        edited(lambda rows: [rows[0], *([row[1], row[0], *row[2:]] for row in rows[1:])]),
        "column 'date': 365 values cannot be read",
    ),
    "a column twice": (edited(lambda rows: [[*row, row[1]] for row in rows]), "'precipitation' is there 2 times"),
    "semicolons": (NEXT.replace(b",", b";"), "separated by semicolons; expected commas"),
    "tabs": (NEXT.replace(b",", b"\t"), "separated by tabs; expected commas"),
    "latin-1": (_text(NEXT).replace("rain", "nässe", 1).encode("latin-1"), "not UTF-8 (byte 0xe4 on line"),
    "utf-16": (_text(NEXT).encode("utf-16"), "is UTF-16; save the file as UTF-8"),
    "a NUL byte": (NEXT.replace(b"rain", b"ra\0n", 1), "holds a NUL byte"),
    "an Excel file": (b"PK\x03\x04" + NEXT, "is a zip or Excel file"),
    "mixed types": (
        edited(column("wind", lambda number, row: "strong" if number % 100 == 7 else row["wind"])),
        "column 'wind': 4 values cannot be read (line 9: 'strong', line 109: 'strong', line 209: 'strong' and 1 more)",
    ),
    "decimal commas": (
        edited(column("wind", lambda _, row: row["wind"].replace(".", ","))),
        "column 'wind': ",
    ),
    "dates of another kind": (
        edited(column("date", lambda _, row: "/".join(reversed(row["date"].split("-"))))),
        "expected dates such as 2012-01-31",
    ),
    "a target that is not there in some rows": (
        edited(column("weather", lambda number, row: "" if number < 5 else row["weather"])),
        "is the target and has no value in 5 rows",
    ),
    "rows of other lengths": (NEXT + b"2014-01-01,1.0\n2014-01-02,1.0\n", "2 rows do not have 6 values"),
    "a quote that never ends": (NEXT + b'2014-01-01,"', "is not CSV"),
    "fewer rows than asked for": (b"\n".join(NEXT.splitlines()[:20]), "has 19 rows; expected at least 30"),
    "a JSON document": (b'[{"date": "2013-01-01"}]', "is missing"),
    "a megabyte of noise": (bytes(range(1, 128)) * 8000, "column 'date' is missing"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_bad_file_is_invalid_with_findings_in_words(bench: Bench, case: str) -> None:
    file, said = INVALID[case]
    verdict = bench.accept(file)["validation"]
    assert verdict["status"] == "invalid", verdict
    assert said in " ".join(verdict["findings"])
    assert said[:50] in verdict["reason"]
    assert bench.registry.dataset_files("tested") == ()
    assert bench.accept(NEXT, run_id="run-2")["validation"]["status"] == "valid", "and the corrected file goes well"


@pytest.mark.parametrize("case", INVALID)
def test_a_bad_file_ends_its_run_as_a_rejection_and_leaves_the_live_version_alone(case: str) -> None:
    bench = live_bench()
    before = bench.registry.deployment("tested")
    file, said = INVALID[case]
    state = bench.run(bench.upload(file, "bad.csv"), "run-2")
    run, entry = bench.registry.run("tested", "run-2"), bench.registry.history("tested").items[0]
    assert (run.status, entry.kind, entry.run_id) == ("rejected", "rejected", "run-2")
    assert said[:50] in run.reason
    assert said in " ".join(entry.details["findings"])
    document = bench.report(state)
    assert (document["passed"], document["run_id"]) == (False, "run-2")
    assert said in " ".join(document["findings"])
    assert bench.registry.deployment("tested") == before
    assert bench.registry.turn("tested").holder is None


def live_bench() -> Bench:
    """With a version that was brought: what a rejection leaves alone."""
    bench = Bench(weather_plan(triggers=[{"kind": "upload", "minimum_rows": 30}]))
    bench.yard.add("tested")
    bench.registry.promote("tested", 1, reason="brought")
    return bench


def test_an_answer_among_the_features_is_invalid() -> None:
    leaking = plan(target="y", features={"x": "number", "leak": "category"}, task="binary")
    rows = [[number, answer, answer] for number, answer in enumerate(["no", "yes"] * 40)]
    bench = Bench(leaking)
    state = bench.run(bench.upload(csv_file(["x", "leak", "y"], rows)), "run-1")
    (said,) = state["validation"]["findings"]
    assert said.endswith(": column 'leak' equals the target in all 80 rows: it is the answer; leave it out")
    assert (state["conclusion"]["status"], state["conclusion"]["reason"]) == ("rejected", said)


def test_an_answer_among_the_features_of_a_later_file_alone_is_invalid_and_a_corrected_file_joins() -> None:
    bench = Bench(plan(target="y", features={"x": "number", "leak": "category"}, task="binary"))
    rows = [[number, ["red", "blue"][number // 3 % 2], ["no", "yes"][number % 2]] for number in range(160)]
    bench.accept(csv_file(["x", "leak", "y"], rows[:80]))
    leaking = csv_file(["x", "leak", "y"], [[row[0], row[2], row[2]] for row in rows[80:]])
    state = bench.run(bench.upload(leaking, "next.csv"), "run-2")
    assert state["validation"]["status"] == "invalid"
    assert "next.csv: column 'leak' equals the target in all 80 rows" in state["validation"]["findings"][0]
    assert len(bench.registry.dataset_files("tested")) == 1
    state = bench.accept(csv_file(["x", "leak", "y"], rows[80:]), "next.csv", "run-3")
    assert state["validation"]["status"] == "valid"


def test_two_numbers_that_changed_places_are_invalid() -> None:
    bench = Bench(plan(target="y", features={"weight": "number", "seconds": "number"}, task="binary"))
    rows = [[1600 + 20 * number, 8 + number / 10, ["no", "yes"][number % 2]] for number in range(160)]
    bench.accept(csv_file(["weight", "seconds", "y"], rows[:80]))
    swapped = csv_file(["weight", "seconds", "y"], [[row[1], row[0], row[2]] for row in rows[40:120]])
    state = bench.run(bench.upload(swapped, "next.csv"), "run-2")
    (said,) = state["validation"]["findings"]
    assert said == (
        "next.csv: columns 'weight' and 'seconds' have changed places: 'weight' is 12 to 19.9 here and 1600 to 3180 in "
        "the files before, 'seconds' is 2400 to 3980 and 8 to 15.9"
    )
    assert state["conclusion"]["status"] == "rejected"
    reordered = csv_file(["seconds", "weight", "y"], [[row[1], row[0], row[2]] for row in rows[40:120]])
    assert bench.accept(reordered, "next.csv", "run-3")["validation"]["status"] == "valid"


VALID: dict[str, tuple[bytes, str]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + NEXT, ""),
    "CRLF": (NEXT.replace(b"\n", b"\r\n"), ""),
    "CR alone": (NEXT.replace(b"\n", b"\r"), ""),
    "no newline at the end": (NEXT.rstrip(), ""),
    "quoted newlines": (
        edited(lambda rows: [[*row, "note" if at == 0 else "two\nlines"] for at, row in enumerate(rows)]),
        "not used by the model: note",
    ),
    "columns in another order": (edited(lambda rows: [row[::-1] for row in rows]), ""),
    "a column more": (edited(lambda rows: [[str(at), *row] for at, row in enumerate(rows)]), "not used by the model"),
    "duplicate rows": (NEXT + b"\n".join(NEXT.splitlines()[1:50]), "49 of 414 rows say the same"),
    "a new category": (edited(column("weather", lambda at, row: "hail" if at < 9 else row["weather"])), ""),
    "missing numbers": (edited(column("wind", lambda at, row: "NA" if at < 9 else row["wind"])), ""),
    "every row of the year before": (YEAR + NEXT.split(b"\n", 1)[1], "366 of 1097 rows are in an earlier file"),
}


@pytest.mark.parametrize("case", VALID)
def test_what_can_only_mean_one_thing_goes_well(bench: Bench, case: str) -> None:
    bench.accept(YEAR)
    file, said = VALID[case]
    verdict = bench.accept(file, "2013.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["findings"]) == ("valid", [])
    assert said in " ".join(verdict["remarks"])


def test_a_file_of_ten_times_the_size_goes_well(bench: Bench) -> None:
    rows = [row.split(",") for row in NEXT.decode().splitlines()]
    years = [[f"{2100 + at}{row[0][4:]}", *row[1:]] for at in range(10) for row in rows[1:]]
    bench.accept(YEAR)
    verdict = bench.accept(csv_file(rows[0], years), "big.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["rows"]) == ("valid", 3650)


# -- rows that are frozen ---------------------------------------------------------------------------------------------


def prepared(bench: Bench, file: bytes = YEAR, run_id: str = "run-1") -> dict[str, Any]:
    """The state of a run that has frozen the evaluation set, and failed after that."""
    state = bench.accept(file, run_id=run_id)
    bench.turn(state, run_id)
    bench.prepare(state, run_id)
    bench.conclude(state, "failed", run_id)
    return state


def prepared_and_used(bench: Bench) -> None:
    """The same, and a version that was measured on it: from then on the frozen rows stay."""
    prepared(bench)
    register(bench.registry, "tested", b"a model")


def frozen_rows(bench: Bench) -> FrozenRows:
    frozen = bench.registry.evaluation_set("tested")
    assert frozen is not None
    return FrozenRows.from_csv(bench.yard.artifacts.objects[frozen.key])


def frozen_days(bench: Bench) -> set[str]:
    found = frozen_rows(bench)
    return {row[found.header.index("date")] for row in found.rows}


def test_an_upload_of_frozen_rows_only_is_refused_whatever_it_looks_like(bench: Bench) -> None:
    """In another order, in other spellings, with a corrected label, with a column more."""
    prepared_and_used(bench)
    days = frozen_days(bench)

    def again(rows: list[list[str]]) -> list[list[str]]:
        kept = [["7", row[0], f"{float(row[1])}0", *row[2:5], "fog"] for row in rows[1:] if row[0] in days]
        return [["id", *rows[0]], *reversed(kept)]

    verdict = bench.accept(edited(again, YEAR), "again.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["findings"]) == (
        "invalid",
        [f"again.csv: all {len(days)} rows are frozen for evaluation; there is nothing to learn from them"],
    )
    assert len(bench.registry.dataset_files("tested")) == 1


def test_a_run_of_frozen_rows_only_ends_as_a_rejection_and_its_file_with_more_rows_goes_well(bench: Bench) -> None:
    prepared_and_used(bench)
    days = frozen_days(bench)
    file = edited(lambda rows: [rows[0], *(row for row in rows[1:] if row[0] in days)], YEAR)
    state = bench.run(bench.upload(file, "again.csv"), "run-2")
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.reason) == ("rejected", state["validation"]["findings"][0])
    assert bench.registry.history("tested").items[0].details["findings"] == state["validation"]["findings"]
    assert (
        bench.run(bench.upload(file + NEXT.split(b"\n", 1)[1], "again.csv"), "run-3")["prepared"]["status"]
        == "prepared"
    )


@pytest.mark.parametrize("why", ["no version was measured on them", "somebody asked for others"])
def test_rows_that_the_next_training_may_learn_from_are_not_refused(bench: Bench, why: str) -> None:
    prepared(bench)
    days = frozen_days(bench)
    if why == "somebody asked for others":
        register(bench.registry, "tested", b"a model")
        bench.registry.request_refresh("tested", reason="new sensors")
    file = edited(lambda rows: [rows[0], *(row for row in rows[1:] if row[0] in days)], YEAR)
    verdict = bench.accept(file, "again.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["findings"]) == ("valid", [])
    assert "frozen" not in " ".join(verdict["remarks"])


def test_lines_of_commas_only_do_not_end_the_run_once_rows_are_frozen() -> None:
    """As spreadsheets leave them."""
    bench = Bench(weather_plan(split={"by": "group", "column": "date"}))
    prepared_and_used(bench)
    verdict = bench.accept(NEXT + b",,,,,\n,,,,,\n", "2013.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["rows"]) == ("valid", 365)


def test_frozen_rows_of_one_class_are_refused_too(bench: Bench) -> None:
    prepared_and_used(bench)
    days = frozen_days(bench)
    file = edited(lambda rows: [rows[0], *(row for row in rows[1:] if row[0] in days and row[5] == "sun")], YEAR)
    bench.plan = weather_plan()
    verdict = bench.accept(file, "sun.csv", "run-2")["validation"]
    assert verdict["status"] == "invalid"
    assert "rows are frozen for evaluation; there is nothing to learn from them" in verdict["reason"]


def test_some_frozen_rows_in_an_upload_are_a_remark_and_are_not_learnt_from(bench: Bench) -> None:
    prepared_and_used(bench)
    both = YEAR + NEXT.split(b"\n", 1)[1]
    state = bench.accept(both, "both.csv", "run-2")
    verdict = state["validation"]
    assert verdict["status"] == "valid"
    assert "both.csv: 73 of 731 rows are frozen for evaluation: not learnt from" in verdict["remarks"]
    bench.turn(state, "run-2")
    bench.prepare(state, "run-2")
    learnt = read_table(bench.plan, [bench.yard.artifacts.objects[f"{state['prepared']['job']}/in/training.csv"]]).table
    assert learnt is not None
    assert len(learnt) == 731 - 73
    assert not frozen_days(bench) & set(learnt.columns["date"].tolist())
    assert not are_frozen(bench.plan, learnt, frozen_rows(bench)).any()


def test_the_first_upload_has_no_frozen_rows(bench: Bench) -> None:
    assert bench.accept(YEAR)["validation"]["remarks"] == []


# -- gone, overwritten, repeated --------------------------------------------------------------------------------------


def test_a_file_that_is_gone_before_it_is_read_is_invalid(bench: Bench) -> None:
    state = bench.claimed(bench.upload(YEAR))
    found = state["claim"]["object"]
    bench.uploads.delete_version(found["key"], found["version_id"])
    verdict = bench.validate(state)
    assert (verdict["status"], verdict["reason"]) == ("invalid", "2012.csv: is gone: it was deleted before it was read")


def test_a_file_that_was_overwritten_after_its_claim_is_read_as_it_was_claimed(bench: Bench) -> None:
    state = bench.claimed(bench.upload(YEAR))
    key = state["claim"]["object"]["key"]
    bench.uploads.put(key, b"something else")
    bench.uploads.delete(key)
    assert bench.validate(state)["rows"] == 366


def test_a_validation_that_is_repeated_gives_the_same_answer_and_one_record(bench: Bench) -> None:
    bench.accept(YEAR)
    state = bench.accept(NEXT, "2013.csv", "run-2")
    first = dict(state["validation"])
    assert bench.validate(state, "run-2") == first
    assert len(bench.registry.dataset_files("tested")) == 2


def test_bytes_that_a_run_learnt_from_are_a_duplicate_under_any_name(bench: Bench) -> None:
    state = bench.accept(YEAR)
    bench.registry.record_run("tested", "run-1", status="promoted", version=1)
    verdict = bench.accept(YEAR, "copy.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["rows"]) == ("duplicate", 366)
    assert verdict["reason"] == "run run-1 learnt from these bytes before and ended promoted"
    assert verdict["sha256"] == state["validation"]["sha256"]
    assert len(bench.registry.dataset_files("tested")) == 1


@pytest.mark.parametrize("status", ["failed", "running", "merged", "skipped", "collected", None])
def test_bytes_whose_run_did_not_end_well_may_be_tried_again(bench: Bench, status: Any) -> None:
    bench.accept(YEAR, run_id="run-0")
    if status is None:
        bench.yard.records._items["MODEL#tested"].pop("RUN#run-0")
    else:
        bench.registry.record_run("tested", "run-0", status=status)
    assert bench.accept(YEAR, "again.csv", "run-2")["validation"]["status"] == "valid"


def test_bytes_whose_first_version_was_deleted_since_may_be_brought_again(bench: Bench) -> None:
    found = bench.accept(YEAR)["claim"]["object"]
    bench.registry.record_run("tested", "run-1", status="promoted", version=1)
    bench.uploads.delete_version(found["key"], found["version_id"])
    state = bench.accept(YEAR, run_id="run-2")
    assert state["validation"]["status"] == "valid"
    bench.turn(state, "run-2")
    assert bench.prepare(state, "run-2")["status"] == "prepared", "and its run learns from what is there now"


def test_a_file_larger_than_the_memory_is_refused_before_it_is_read(bench: Bench) -> None:
    state = bench.claimed(bench.upload(YEAR))
    size = state["claim"]["object"]["size"]
    bench.with_memory(512)
    state["claim"]["object"]["size"] = 5 * 2**30
    verdict = bench.validate(state)
    assert verdict["status"] == "invalid"
    assert verdict["reason"] == (
        "2012.csv: the training files have 5,120.0 MB together; with 512 MB of memory this step takes 21.3 MB at most"
    )
    assert bench.uploads.reads == []
    state["claim"]["object"]["size"] = size
    assert bench.validate(state)["status"] == "valid"


def test_a_data_set_larger_than_the_memory_is_refused_before_it_is_read(bench: Bench) -> None:
    bench.registry.add_dataset_file(
        "tested", bucket="data-bucket", key="tested/old.csv", version_id="v0", sha256="ab" * 32, rows=10**7,
        size=300 * 2**20, run_id="run-0",
    )  # fmt: skip
    state = bench.claimed(bench.upload(YEAR))
    found = state["claim"]["object"]
    bench.with_memory(3008)
    verdict = bench.validate(state)
    assert verdict["status"] == "invalid"
    assert "have 300.0 MB together; with 3,008 MB of memory this step takes 125.3 MB at most" in verdict["reason"]
    assert bench.uploads.reads == [(found["key"], found["version_id"])]


def test_values_that_the_live_version_promises_nothing_about_are_remarked_on_and_learnt_from(bench: Bench) -> None:
    bench.run(bench.upload(dealt_weather()[0], "first.csv"), "run-1")
    odd = edited(column("wind", lambda at, row: "99" if at in (3, 7) else row["wind"]))
    state = bench.accept(odd, "2013.csv", "run-2")
    assert state["validation"]["status"] == "valid"
    remarks = [found for found in state["validation"]["remarks"] if "'wind'" in found]
    assert remarks == [
        "2013.csv: column 'wind' is 99 on line 5 and differs on 1 more; of the live version, allowed is -3.5 to 12.9"
    ]


def test_a_column_that_became_text_is_not_compared_with_numbers(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    features = {
        "date": "date",
        "precipitation": "number",
        "temp_max": "number",
        "temp_min": "number",
        "wind": "category",
    }
    bench.plan = weather_plan(features=features)
    verdict = bench.accept(NEXT, "2013.csv", "run-2")["validation"]
    assert (verdict["status"], verdict["remarks"]) == ("valid", [])
