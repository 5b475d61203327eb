"""What one step leaves for the next: folders named by what is in them, written once."""

import pytest

from modelyard.errors import NotFoundError
from modelyard.retraining.working_files import job_folder, leave, leave_job, read, read_if_there
from modelyard.training.plan import decode_plan
from tests.fakes.training_data import weather_plan
from tests.fakes.workbench import Bench

PLAN = weather_plan()


@pytest.fixture
def bench() -> Bench:
    return Bench(PLAN)


def test_a_job_is_a_folder_with_its_files(bench: Bench) -> None:
    folder = leave_job(bench.workbench, PLAN, "run-1", training=b"a,b\n", evaluation=b"a\n", given=b"{}")
    assert folder.startswith("runs/tested/run-1/")
    assert {key.removeprefix(folder) for key in bench.yard.artifacts.objects} == {
        "/in/plan.json", "/in/training.csv", "/in/evaluation.csv", "/in/given.json",
    }  # fmt: skip
    assert decode_plan(bench.document(f"{folder}/in/plan.json")) == PLAN


def test_another_byte_anywhere_is_another_folder(bench: Bench) -> None:
    parts = {"training": b"a", "evaluation": b"b"}
    folders = [
        leave_job(bench.workbench, PLAN, "run-1", **parts),
        leave_job(bench.workbench, weather_plan(seed=1), "run-1", **parts),
        leave_job(bench.workbench, PLAN, "run-2", **parts),
        leave_job(bench.workbench, PLAN, "run-1", training=b"ab", evaluation=b""),
        leave_job(bench.workbench, PLAN, "run-1", training=b"", evaluation=b"ab"),
        leave_job(bench.workbench, PLAN, "run-1", **parts, given=b"{}"),
    ]
    assert len(set(folders)) == len(folders)
    assert leave_job(bench.workbench, PLAN, "run-1", **parts) == folders[0]


def test_parts_cannot_run_into_each_other() -> None:
    assert job_folder("m", "r", b"ab", b"c") != job_folder("m", "r", b"a", b"bc")
    assert job_folder("m", "r", b"ab") != job_folder("m", "r", b"ab", b"")


def test_a_file_is_written_once(bench: Bench) -> None:
    assert leave(bench.workbench, "runs/tested/x.json", b"first") == "runs/tested/x.json"
    leave(bench.workbench, "runs/tested/x.json", b"second")
    assert read(bench.workbench, "runs/tested/x.json") == b"first"


def test_a_file_that_is_gone_is_said_with_what_to_do(bench: Bench) -> None:
    assert read_if_there(bench.workbench, "runs/tested/x.json") is None
    with pytest.raises(NotFoundError, match="working files expire after 30 days") as gone:
        read(bench.workbench, "runs/tested/x.json")
    assert (gone.value.code, gone.value.next_step) == ("object_not_found", "Start another run: 'modelyard train NAME'.")
