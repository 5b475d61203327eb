"""A model's data set: what arrives at once, what was deleted and what no longer fits does not block what is new."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from modelyard.retraining.dataset import Part, agree
from modelyard.training.plan import Plan
from tests.fakes.training_data import csv_file, plan, weather, weather_plan
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


def test_two_uploads_at_once_are_both_accepted_when_they_agree(bench: Bench) -> None:
    claims = [bench.claim(bench.upload(rows(at, "no", "yes"), f"{at}.csv"), f"run-{at}") for at in range(8)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda at: bench.validate(claims[at]["object"], f"run-{at}"), range(8)))
    assert {verdict["status"] for verdict in verdicts} == {"valid"}
    assert len(bench.registry.dataset_files("tested")) == 8


def test_an_upload_that_contradicts_what_was_accepted_is_invalid(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")
    verdict = bench.accept(rows(2, "no", "perhaps"), "b.csv", "run-b")["validation"]
    assert verdict["status"] == "invalid"
    assert "3 classes ('no', 'perhaps', 'yes'); a binary task has two" in verdict["reason"]


def at_once(bench: Bench) -> list[dict[str, Any]]:
    """Two first uploads, both validated before either is accepted: one says no or yes, the other no or perhaps."""
    states: list[dict[str, Any]] = [
        {"claim": bench.claim(bench.upload(rows(1, "no", "yes"), "a.csv"), "run-a")},
        {"claim": bench.claim(bench.upload(rows(2, "no", "perhaps"), "b.csv"), "run-b")},
    ]
    accept = bench.registry.add_dataset_file

    def both(*args: Any, **kwargs: Any) -> Any:
        bench.registry.add_dataset_file = accept  # type: ignore[method-assign]
        states[1]["validation"] = bench.validate(states[1]["claim"]["object"], "run-b")
        return accept(*args, **kwargs)

    bench.registry.add_dataset_file = both  # type: ignore[method-assign]
    states[0]["validation"] = bench.validate(states[0]["claim"]["object"], "run-a")
    assert [state["validation"]["status"] for state in states] == ["valid", "valid"]
    return states  # b was accepted first


def test_of_two_uploads_that_contradict_each_other_the_first_accepted_counts(bench: Bench) -> None:
    late, early = at_once(bench)
    assert [file.run_id for file in bench.registry.dataset_files("tested")] == ["run-b", "run-a"]
    trained = bench.train(early, "run-b")
    assert (trained["status"], trained["files"]) == ("trained", 1)
    assert trained["remarks"] == [
        "a.csv is left out: target 'y' has 3 classes ('no', 'perhaps', 'yes'); a binary task has two"
    ]
    refused = bench.train(late, "run-a")
    assert refused == {"status": "refused", "reason": trained["remarks"][0]}
    assert bench.evaluate(late, "run-a")["passed"] is False
    assert bench.evaluate(late, "run-a")["reason"] == refused["reason"], "the run ends as a rejection, in words"


def test_a_contradiction_does_not_block_what_comes_later(bench: Bench) -> None:
    at_once(bench)
    state = bench.accept(rows(3, "no", "perhaps"), "c.csv", "run-c")
    assert state["validation"]["status"] == "valid"
    assert left_out(state).startswith("a.csv is left out: target 'y' has 3 classes")
    assert bench.train(state, "run-c")["files"] == 2
    assert bench.accept(rows(4, "no", "yes"), "d.csv", "run-d")["validation"]["status"] == "invalid"


def test_a_validation_that_is_repeated_after_a_contradiction_arrived_keeps_its_answer(bench: Bench) -> None:
    late, early = at_once(bench)
    assert bench.validate(early["claim"]["object"], "run-b")["status"] == "valid"
    assert bench.validate(late["claim"]["object"], "run-a")["status"] == "invalid", "b was there before it"
    assert len(bench.registry.dataset_files("tested")) == 2


def test_files_that_were_deleted_are_left_out_with_a_remark_and_block_nothing(bench: Bench) -> None:
    first = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    bench.uploads.delete_version(first["key"], first["version_id"])
    state = bench.accept(rows(2, "no", "yes"), "third.csv", "run-2")
    said = "first.csv is left out: its object version is gone from the bucket"
    assert (state["validation"]["status"], state["validation"]["remarks"]) == ("valid", [said])
    trained = bench.train(state, "run-2")
    assert (trained["files"], trained["rows"]["read"], trained["remarks"]) == (2, 80, [said])
    record = msgspec.json.decode(bench.yard.artifacts.objects[trained["record_key"]])
    assert [found["key"] for found in record["objects"]] == ["tested/second.csv", "tested/third.csv"]


def test_all_earlier_files_may_be_gone(bench: Bench) -> None:
    for at in range(3):
        found = bench.accept(rows(at, "no", "yes"), f"{at}.csv", f"run-{at}")["claim"]["object"]
        bench.uploads.delete_version(found["key"], found["version_id"])
    state = bench.accept(rows(9, "no", "yes"), "new.csv", "run-9")
    assert state["validation"]["status"] == "valid"
    assert bench.train(state, "run-9")["files"] == 1


def test_a_delete_marker_takes_nothing_out(bench: Bench) -> None:
    found = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.uploads.delete(found["key"])
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    assert state["validation"]["remarks"] == []
    assert bench.train(state, "run-1")["files"] == 2


def test_a_file_with_other_bytes_than_it_was_accepted_with_is_left_out(bench: Bench) -> None:
    found = bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")["claim"]["object"]
    bench.uploads._versions[found["key"]] = [(found["version_id"], rows(7, "no", "yes"))]
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    said = "first.csv is left out: its object version has other bytes than when it was accepted"
    assert state["validation"]["remarks"] == [said]
    assert bench.train(state, "run-1")["remarks"] == [said]


def test_a_run_whose_own_file_is_gone_trains_nothing(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "first.csv", "run-0")
    state = bench.accept(rows(1, "no", "yes"), "second.csv", "run-1")
    found = state["claim"]["object"]
    bench.uploads.delete_version(found["key"], found["version_id"])
    assert bench.train(state, "run-1") == {
        "status": "refused",
        "reason": "second.csv is left out: its object version is gone from the bucket",
    }


def test_files_from_before_the_plan_changed_do_not_block_files_that_fit_it(bench: Bench) -> None:
    bench.accept(rows(0, "no", "yes"), "old.csv", "run-0")
    bench.plan = plan(target="y", features={"x": "number", "z": "number"}, task="binary")
    wider = csv_file(["x", "z", "y"], [[at, at * 2 % 7, "no" if at % 2 else "yes"] for at in range(40)])
    state = bench.accept(wider, "new.csv", "run-1")
    said = "old.csv is left out: column 'z' is missing; the header has 'x', 'y'"
    assert (state["validation"]["status"], state["validation"]["remarks"]) == ("valid", [said])
    trained = bench.train(state, "run-1")
    assert (trained["files"], trained["remarks"]) == (1, [said])
    assert bench.accept(rows(2, "no", "yes"), "older.csv", "run-2")["validation"]["findings"] == [
        "older.csv: column 'z' is missing; the header has 'x', 'y'"
    ]


def test_two_files_of_one_name_are_told_apart_by_the_time_of_their_acceptance(bench: Bench) -> None:
    for at in range(2):
        found = bench.accept(rows(at, "no", "yes"), "same.csv", f"run-{at}")["claim"]["object"]
        bench.uploads.delete_version(found["key"], found["version_id"])
    remarks = bench.accept(rows(2, "no", "yes"), "same.csv", "run-2")["validation"]["remarks"]
    assert [remark.split(" is left out")[0][:-2] for remark in remarks] == ["same.csv of 2026-11-21T10:00:"] * 2
    assert remarks[0] != remarks[1]


def parts(*files: bytes) -> list[Part]:
    return [Part(f"{at}.csv", file) for at, file in enumerate(files)]


def kept(spec: Plan, *files: bytes) -> list[str]:
    chosen, left = agree(spec, parts(*files))
    assert sorted([part.name for part in chosen] + [found.name for found in left]) == sorted(
        part.name for part in parts(*files)
    )
    return [part.name for part in chosen]


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
    read_table = dataset.read_table

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
