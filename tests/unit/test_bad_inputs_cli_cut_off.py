"""Commands that are cut off in the middle, or meet another person's. The list of bad inputs: test_bad_inputs_cli."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.broken_stores import Outage
from tests.fakes.command_line import CommandLine, Interrupted
from tests.fakes.command_line_past import admit_once, sound, with_a_past, with_an_orphan


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose model ``sums`` has three versions; 1 and then 2 became live."""
    return with_a_past(CommandLine(tmp_path / "project", monkeypatch, capsys))


# -- cut off in the middle ----------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, ...]] = {
    "register": ("register", "sums", "three.onnx"),
    "register --promote": ("register", "sums", "three.onnx", "--promote"),
    "promote": ("promote", "sums", "3"),
    "rollback": ("rollback", "sums"),
    "rollback --to": ("rollback", "sums", "--to", "1"),
    "notes": ("notes", "sums", "--file", "NOTES.md"),
    "sweep": ("sweep", "--delete", "--older-than", "1"),
}


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], CommandLine]:
    """A project in a folder of this name, with an orphan to sweep; files are not tried again and again."""
    signature = admit_once()
    monkeypatch.setattr("modelyard.admission.admit", lambda _: signature)

    def made(name: str) -> CommandLine:
        return with_an_orphan(with_a_past(CommandLine(tmp_path / name, monkeypatch, capsys)))

    return made


def calls_of(make: Callable[[str], CommandLine], *arguments: str) -> tuple[int, list[str]]:
    """How many calls to the stores an undisturbed command makes, and what it leaves."""
    line = make("undisturbed")
    line.outage = Outage()
    line.run(*arguments).done()
    return len(line.outage.calls), sound(line).picture()


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it was applied"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_cut_at_any_call_is_said_and_the_next_step_finishes_it(
    make: Callable[[str], CommandLine], change: str, after: bool
) -> None:
    count, wanted = calls_of(make, *CHANGES[change])
    assert count >= 3
    for at in range(count):
        line = make(f"project-{at}")
        line.outage = Outage(at, after=after)
        ended = line.run(*CHANGES[change])
        line.outage = None
        sound(line)
        again = list(CHANGES[change])
        if ended.code != 0:
            ended.refused(5, "connection was cut")
            operation = re.search(r"--operation (\S+):", ended.next_steps[0])
            repeatable = change in ("promote", "rollback --to") and "may not follow yet" not in ended.causes[0]
            assert operation is not None or not repeatable
            again += ["--operation", operation[1]] if operation else []
        finished = line.run(*again)
        if finished.code != 0:
            assert "--operation" not in again
            finished.refused(4, *(("go further back",) if change == "rollback" else ("live already",)))
        shelf = sound(line)
        assert not shelf.pointer_is_behind()
        assert shelf.picture() == wanted, f"call {at}"
        assert change != "sweep" or len(line.artifacts.objects) == 4  # three artifacts and the pointer


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it was applied"])
@pytest.mark.parametrize("change", CHANGES)
def test_ctrl_c_at_any_call_leaves_a_sound_registry(
    make: Callable[[str], CommandLine], change: str, after: bool
) -> None:
    count, wanted = calls_of(make, *CHANGES[change])
    for at in range(count):
        line = make(f"project-{at}")
        line.outage = Interrupted(at, after=after)
        ended = line.run(*CHANGES[change])
        line.outage = None
        assert ended.code == 130
        assert "stopped" in ended.err
        if change != "rollback":  # it looks first whether somebody repeats one
            assert ("--operation" in ended.err) == (change in ("promote", "rollback --to"))
        assert "Traceback" not in ended.err
        sound(line)
        finished = line.run(*CHANGES[change])
        if finished.code != 0:
            finished.refused(4, *(("go further back",) if change == "rollback" else ("live already",)))
        shelf = sound(line)
        assert not shelf.pointer_is_behind()
        assert shelf.picture() == wanted, f"call {at}"


@pytest.mark.parametrize("command", ["card", "export"])
def test_ctrl_c_at_any_call_leaves_no_half_written_file(make: Callable[[str], CommandLine], command: str) -> None:
    arguments = ("card", "sums", "--output", "out") if command == "card" else ("export", "sums", "out")
    count, _ = calls_of(make, *arguments)
    for at in range(count):
        line = make(f"project-{at}")
        before, names = line.everything(), sorted(path.name for path in line.folder.iterdir())
        line.outage = Interrupted(at)
        ended = line.run(*arguments)
        line.outage = None
        assert (ended.code, "stopped" in ended.err) == (130, True)
        assert line.everything() == before
        assert sorted(path.name for path in line.folder.iterdir()) == names
    line.run(*arguments).done()
    assert (line.folder / "out").exists()


# -- two people ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "meanwhile"),
    [
        (("promote", "sums", "3"), lambda registry: registry.rollback("sums", reason="no good")),
        (("rollback", "sums"), lambda registry: registry.promote("sums", 3, reason="better")),
        (("notes", "sums", "--file", "NOTES.md"), lambda registry: registry.write_notes("sums", "mine")),
    ],
    ids=["promote", "rollback", "notes"],
)
def test_of_two_terminals_one_hears_who_was_first(
    line: CommandLine, arguments: tuple[str, ...], meanwhile: Callable[[Any], Any]
) -> None:
    class Slow(Outage):
        def call(self, name: str, act: Callable[[], Any], between_parts: Callable[[], Any] | None = None) -> Any:
            if name == "transact":
                meanwhile(line.registry("carol"))
            return act()

    line.outage = Slow()
    ended = line.run(*arguments)
    line.outage = None
    ended.refused(4, "carol")
    sound(line)
    line.run(*arguments).done()
