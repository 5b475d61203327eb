"""A model's data set: what arrives at once, what was deleted and what no longer fits does not block what is new."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.registry import DatasetFile
from modelyard.retraining.dataset import Part, agree, newest
from modelyard.training.plan import Plan
from modelyard.training.table import read_table
from tests.fakes.training_data import csv_file, plan, weather, weather_plan
from tests.fakes.uploads import InMemoryUploads
from tests.fakes.workbench import Bench

BINARY = plan(target="y", features={"x": "number"}, task="binary")


def rows(seed: int, *classes: str, count: int = 40) -> bytes:
    """A file with a number per row that tells the first class from the others."""
    draw = random.Random(seed)  # noqa: S311 - made-up rows
    picked = [classes[at % len(classes)] for at in range(count)]
    return csv_file(["x", "y"], [[round(draw.gauss(classes.index(name), 0.3), 6), name] for name in picked])


@pytest.fixture
def bench() -> Bench:
    return Bench(BINARY)


def left_out(state: dict[str, Any]) -> str:
    return " | ".join(state["validation"]["remarks"])


def prepared(bench: Bench, state: dict[str, Any], run_id: str) -> dict[str, Any]:
    """What the prepare step answers; its record when it prepared something."""
    answer = bench.prepare(state, run_id)
    return answer | (bench.document(answer["record_key"]) if answer["status"] == "prepared" else {})


def learnt_from(found: dict[str, Any]) -> list[str]:
    return [file["key"].removeprefix("tested/") for file in found["files"]]


def test_two_uploads_at_once_are_both_accepted_when_they_agree(bench: Bench) -> None:
    states = [bench.claimed(bench.upload(rows(at, "no", "yes"), f"{at}.csv"), f"run-{at}") for at in range(8)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda at: bench.validate(states[at], f"run-{at}"), range(8)))
    assert {verdict["status"] for verdict in verdicts} == {"valid"}
    assert len(bench.registry.dataset_files("tested")) == 8


def test_an_upload_that_contradicts_what_was_accepted_is_invalid(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")
    verdict = bench.accept(rows(2, "no", "perhaps"), "b.csv", "run-b")["validation"]
    assert verdict["status"] == "invalid"
    assert "3 classes ('no', 'perhaps', 'yes'); a binary task has two" in verdict["reason"]


def at_once(bench: Bench) -> list[dict[str, Any]]:
    """Two first uploads, both validated before either is accepted: one says no or yes, the other no or perhaps."""
    states = [
        bench.claimed(bench.upload(rows(1, "no", "yes"), "a.csv"), "run-a"),
        bench.claimed(bench.upload(rows(2, "no", "perhaps"), "b.csv"), "run-b"),
    ]
    accept = bench.registry.add_dataset_file

    def both(*args: Any, **kwargs: Any) -> Any:
        bench.registry.add_dataset_file = accept  # type: ignore[method-assign]
        bench.validate(states[1], "run-b")
        return accept(*args, **kwargs)

    bench.registry.add_dataset_file = both  # type: ignore[method-assign]
    bench.validate(states[0], "run-a")
    assert [state["validation"]["status"] for state in states] == ["valid", "valid"]
    return states  # b was accepted first


def test_of_two_uploads_that_contradict_each_other_the_first_accepted_counts(bench: Bench) -> None:
    late, early = at_once(bench)
    assert [file.run_id for file in bench.registry.dataset_files("tested")] == ["run-b", "run-a"]
    found = prepared(bench, early, "run-b")
    assert (found["status"], learnt_from(found)) == ("prepared", ["b.csv"])
    said = "a.csv is left out: target 'y' has 3 classes ('no', 'perhaps', 'yes'); a binary task has two"
    assert found["left_out"] == [said]
    refused = prepared(bench, late, "run-a")
    assert (refused["status"], refused["reason"]) == ("refused", said)
    ended = bench.go_on(late, "run-a")
    assert (ended["conclusion"]["status"], ended["conclusion"]["reason"]) == ("rejected", said)
    assert bench.report(ended)["reason"] == said


def test_a_contradiction_does_not_block_what_comes_later(bench: Bench) -> None:
    at_once(bench)
    state = bench.accept(rows(3, "no", "perhaps"), "c.csv", "run-c")
    assert state["validation"]["status"] == "valid"
    assert left_out(state).startswith("a.csv is left out: target 'y' has 3 classes")
    assert learnt_from(prepared(bench, state, "run-c")) == ["b.csv", "c.csv"]
    assert bench.accept(rows(4, "no", "yes"), "d.csv", "run-d")["validation"]["status"] == "invalid"


def test_a_validation_that_is_repeated_after_a_contradiction_arrived_keeps_its_answer(bench: Bench) -> None:
    late, early = at_once(bench)
    assert bench.validate(early, "run-b")["status"] == "valid"
    assert bench.validate(late, "run-a")["status"] == "invalid", "b was there before it"
    assert len(bench.registry.dataset_files("tested")) == 2


def test_files_that_were_deleted_are_left_out_with_a_remark_and_block_nothing(bench: Bench) -> None:
    first = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    bench.uploads.delete_version(first["key"], first["version_id"])
    state = bench.accept(rows(2, "no", "yes"), "third.csv", "run-2")
    said = "first.csv is left out: its object version is gone from the bucket"
    assert (state["validation"]["status"], state["validation"]["remarks"]) == ("valid", [said])
    found = prepared(bench, state, "run-2")
    assert (found["row_counts"]["read"], found["left_out"]) == (80, [said])
    assert learnt_from(found) == ["second.csv", "third.csv"]


def test_all_earlier_files_may_be_gone(bench: Bench) -> None:
    for at in range(3):
        found = bench.accept(rows(at, "no", "yes"), f"{at}.csv", f"run-{at}")["claim"]["object"]
        bench.uploads.delete_version(found["key"], found["version_id"])
    state = bench.accept(rows(9, "no", "yes"), "new.csv", "run-9")
    assert state["validation"]["status"] == "valid"
    assert learnt_from(prepared(bench, state, "run-9")) == ["new.csv"]


def test_a_delete_marker_takes_nothing_out(bench: Bench) -> None:
    found = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.uploads.delete(found["key"])
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    assert state["validation"]["remarks"] == []
    assert learnt_from(prepared(bench, state, "run-1")) == ["first.csv", "second.csv"]


def test_a_file_with_other_bytes_than_it_was_accepted_with_is_left_out(bench: Bench) -> None:
    found = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.uploads._versions[found["key"]] = [(found["version_id"], rows(7, "no", "yes"))]
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    said = "first.csv is left out: its object version has other bytes than when it was accepted"
    assert state["validation"]["remarks"] == [said]
    assert prepared(bench, state, "run-1")["left_out"] == [said]


def test_a_run_whose_own_file_is_gone_trains_nothing(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    found = state["claim"]["object"]
    bench.uploads.delete_version(found["key"], found["version_id"])
    answer = bench.prepare(state, "run-1")
    said = "second.csv is left out: its object version is gone from the bucket"
    assert (answer["status"], answer["reason"]) == ("refused", said)
    assert bench.document(answer["report_key"])["reason"] == said


def test_files_from_before_the_plan_changed_do_not_block_files_that_fit_it(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "old.csv", "run-0")
    bench.plan = plan(target="y", features={"x": "number", "z": "number"}, task="binary")
    wider = csv_file(["x", "z", "y"], [[at, at * 2 % 7, "no" if at % 2 else "yes"] for at in range(40)])
    state = bench.accept(wider, "new.csv", "run-1")
    said = "old.csv is left out: column 'z' is missing; the header has 'x', 'y'"
    assert (state["validation"]["status"], state["validation"]["remarks"]) == ("valid", [said])
    found = prepared(bench, state, "run-1")
    assert (learnt_from(found), found["left_out"]) == (["new.csv"], [said])
    assert bench.accept(rows(2, "no", "yes"), "older.csv", "run-2")["validation"]["findings"] == [
        "older.csv: column 'z' is missing; the header has 'x', 'y'"
    ]


def test_two_files_of_one_name_are_told_apart_by_the_time_of_their_acceptance(bench: Bench) -> None:
    for at in range(2):
        found = bench.accept(rows(at, "no", "yes"), f"{at}/same.csv", f"run-{at}")["claim"]["object"]
        bench.uploads.delete_version(found["key"], found["version_id"])
    remarks = bench.accept(rows(2, "no", "yes"), "same.csv", "run-2")["validation"]["remarks"]
    assert [remark.split(" is left out")[0][:-2] for remark in remarks] == ["same.csv of 2026-11-21T10:00:"] * 2
    assert remarks[0] != remarks[1]


# -- versions of one key ----------------------------------------------------------------------------------------------


def test_of_several_versions_of_one_key_the_newest_counts(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "other.csv", "run-0")
    bench.accept(rows(1, "no", "yes"), "same.csv", "run-1")
    state = bench.accept(rows(2, "no", "yes"), "same.csv", "run-2")
    found = prepared(bench, state, "run-2")
    assert learnt_from(found) == ["other.csv", "same.csv"]
    assert [file["version_id"] for file in found["files"]] == ["v0001", "v0003"]
    (said,) = found["left_out"]
    assert said.startswith("same.csv of 2026-11-21T10:00:")
    assert said.endswith("is left out: a newer file has the same name (version v0003)")


def test_the_newest_is_what_the_bucket_says_whatever_order_the_events_came_in(bench: Bench) -> None:
    events = [bench.upload(rows(at, "no", "yes"), "same.csv") for at in range(2)]
    late = bench.claimed(events[1], "run-late")
    bench.validate(late, "run-late")
    assert bench.claim(events[0], "run-early")["status"] == "superseded"
    stored = bench.registry.claimant("data-bucket", "tested/same.csv", "v0001")
    assert stored == "run-early"
    for sha256, version_id in (("ab" * 32, "v0001"), ("cd" * 32, "v0099")):  # accepted last, stored first, or gone
        bench.registry.add_dataset_file(
            "tested", bucket="data-bucket", key="tested/same.csv", version_id=version_id, sha256=sha256, rows=40,
            size=10, run_id="run-early",
        )  # fmt: skip
    kept, left = newest(bench.uploads, bench.registry.dataset_files("tested"))
    assert [file.version_id for file in kept] == ["v0002"]
    assert [found.file.version_id for found in left if found.file] == ["v0001", "v0099"]


def test_a_version_that_was_deleted_uncovers_the_one_before_it(bench: Bench) -> None:
    first = bench.accept(rows(0, "no", "yes"), "same.csv", "run-0")["claim"]["object"]
    second = bench.accept(rows(1, "no", "yes"), "same.csv", "run-1")["claim"]["object"]
    bench.uploads.delete_version(second["key"], second["version_id"])
    kept, _ = newest(bench.uploads, bench.registry.dataset_files("tested"))
    assert [file.version_id for file in kept] == [first["version_id"]]


def test_of_versions_that_are_all_gone_the_last_accepted_stands_for_them() -> None:
    files = [
        DatasetFile(
            model="m", at=f"2026-11-21T10:00:0{at}", bucket="b", key="k.csv", version_id=f"v{at}", sha256=f"{at}" * 64,
            rows=1, size=1, run_id="r",
        )
        for at in (1, 3, 2)
    ]  # fmt: skip
    kept, left = newest(InMemoryUploads(), files)
    assert [file.version_id for file in kept] == ["v3"]
    assert len(left) == 2


def test_a_file_that_corrects_another_need_not_agree_with_it(bench: Bench) -> None:
    bench.accept(rows(0, "no", "perhaps"), "same.csv", "run-0")
    state = bench.accept(rows(1, "no", "yes"), "same.csv", "run-1")
    assert state["validation"]["status"] == "valid"
    assert learnt_from(prepared(bench, state, "run-1")) == ["same.csv"]


def test_a_run_that_waited_learns_from_the_file_that_corrected_its_own(bench: Bench) -> None:
    """The run of the newer file was merged into it, so nobody else would."""
    other = bench.by_hand("run-0")
    first = bench.accept(rows(1, "no", "yes"), "same.csv", "run-1")
    assert bench.turn(first, "run-1")["status"] == "wait"
    second = bench.accept(rows(2, "no", "yes"), "same.csv", "run-2")
    assert bench.turn(second, "run-2") | {"reason": ""} == {"status": "merged", "reason": "", "into": "run-1"}
    bench.conclude(other, "failed", "run-0")
    ended = bench.go_on(first, "run-1")
    assert ended["promoted"]["version"] == 1
    assert [file["version_id"] for file in bench.report(ended)["files"]] == ["v0002"]


def test_a_run_whose_own_file_is_gone_learns_from_those_that_were_merged_into_it(bench: Bench) -> None:
    other = bench.by_hand("run-0")
    first = bench.accept(rows(1, "no", "yes"), "first.csv", "run-1")
    bench.turn(first, "run-1")
    second = bench.accept(rows(2, "no", "yes"), "second.csv", "run-2")
    assert bench.turn(second, "run-2")["status"] == "merged"
    found = first["claim"]["object"]
    bench.uploads.delete_version(found["key"], found["version_id"])
    bench.conclude(other, "failed", "run-0")
    ended = bench.go_on(first, "run-1")
    assert ended["promoted"]["version"] == 1
    assert bench.report(ended)["left_out"] == ["first.csv is left out: its object version is gone from the bucket"]


# -- which files agree ------------------------------------------------------------------------------------------------


def parts(*files: bytes) -> list[Part]:
    return [Part(f"{at}.csv", file) for at, file in enumerate(files)]


def kept(spec: Plan, *files: bytes) -> list[str]:
    agreed, left = agree(spec, parts(*files))
    names = [part.name for part in agreed.parts]
    assert sorted(names + [found.name for found in left]) == sorted(part.name for part in parts(*files))
    again = read_table(spec, [part.content for part in agreed.parts], names=names)
    assert (agreed.reading.findings, agreed.reading.remarks, agreed.reading.rows) == (
        again.findings,
        again.remarks,
        again.rows,
    )
    return names


def test_files_that_agree_are_all_kept_in_their_order() -> None:
    assert kept(BINARY) == []
    assert kept(BINARY, *(rows(at, "no", "yes") for at in range(9))) == [f"{at}.csv" for at in range(9)]


def test_a_file_of_one_class_counts_when_others_have_another() -> None:
    assert kept(BINARY, rows(0, "no"), rows(1, "yes")) == ["0.csv", "1.csv"]
    assert kept(BINARY, rows(0, "no")) == []
    bad = rows(2, "no", "perhaps")
    assert kept(BINARY, rows(0, "no"), rows(1, "no", "yes"), bad, b"x") == ["0.csv", "1.csv"]


def test_the_few_that_contradict_many_are_found_with_few_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.retraining import dataset

    readings = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal readings
        readings += 1
        return read_table(*args, **kwargs)

    monkeypatch.setattr(dataset, "read_table", counted)
    files = [rows(at, "no", "yes", count=4) for at in range(200)]
    for at in (17, 130):
        files[at] = rows(at, "no", "perhaps", count=4)
    files[55] = b"not a table"
    expected = [f"{at}.csv" for at in range(200) if at not in {17, 55, 130}]
    assert kept(BINARY, *files) == expected
    assert readings <= 50, readings


def test_years_of_weather_agree() -> None:
    assert kept(weather_plan(), *weather(2012, 2013, 2014, 2015)) == [f"{at}.csv" for at in range(4)]
