"""Disks that refuse, terminals that are none. The list of bad inputs: test_bad_inputs_cli."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.command_line import CommandLine, child
from tests.fakes.command_line_past import with_a_past


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose model ``sums`` has three versions; 1 and then 2 became live."""
    return with_a_past(CommandLine(tmp_path / "project", monkeypatch, capsys))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        (("card", "sums", "--output", "card.md"), "write_text"),
        (("export", "sums", "out"), "write_bytes"),
        (("export", "sums", "out"), "mkdir"),
        (("notes", "sums", "--file", "NOTES.md"), "read_text"),
    ],
    ids=["card", "export", "export, its folder", "notes"],
)
def test_a_disk_that_refuses_is_one_line(
    line: CommandLine, arguments: tuple[str, ...], method: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, names = line.everything(), sorted(path.name for path in line.folder.iterdir())
    real = getattr(Path, method)

    def refuse(path: Path, *args: Any, **settings: Any) -> Any:
        if path.suffix in (".toml", ".py"):
            return real(path, *args, **settings)
        if method.startswith("write"):
            real(path, args[0][:7])  # as far as it went
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, method, refuse)
        line.run(*arguments).refused(1, os.strerror(number))
    assert line.everything() == before
    assert sorted(path.name for path in line.folder.iterdir()) == names
    line.run(*arguments).done()


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [("version",), ("--help",), ("promote", "--help")], ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(line: CommandLine, arguments: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        child(*arguments, folder=line.folder, stdout=full).refused(1, "No space left on device")


@pytest.mark.parametrize(
    ("arguments", "is_buffered"), [(("version",), True), (("version",), False), (("promote", "--help"), True)]
)
def test_a_reader_that_has_enough_ends_it_without_a_word(
    line: CommandLine, arguments: tuple[str, ...], is_buffered: bool
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = child(*arguments, folder=line.folder, is_buffered=is_buffered, stdout=writing)
    finally:
        os.close(writing)
    assert (ended.code, ended.err) == (1, "")


def test_a_name_that_is_no_text_is_shown_all_the_same(line: CommandLine) -> None:
    name = os.fsencode("\udcff.csv")
    (line.folder / os.fsdecode(name)).write_text("a,b\n")
    ended = line.run("lineage", "--file", os.fsdecode(name))
    assert "no version learnt from" in ended.done()


def test_without_a_terminal_nothing_asks_and_nothing_is_coloured(line: CommandLine) -> None:
    ended = child("--env", "prod", "sweep", "--delete", folder=line.folder, stdin=subprocess.DEVNULL)
    ended.refused(2, "protected against deletion")
    child("promote", "sums", "x", folder=line.folder).refused_by_the_parser("version")
    helped = child("--help", folder=line.folder)
    assert (helped.code, "\x1b" in helped.out) == (0, False)


def test_control_characters_of_a_name_do_not_reach_the_terminal(line: CommandLine) -> None:
    for arguments in (
        ("card", "sums", "--output", "no\x1b[2J\u202e/card.md"),
        ("notes", "sums", "--file", "\x1b[2J\u202e"),
        ("register", "sums", "\x1b[2J\u202e"),
        ("lineage", "--file", "\x1b[2J\u202e"),
        ("export", "sums", "no\x1b[2J/out"),
    ):
        cause = line.run(*arguments).refused(2)
        assert "\u202e" not in cause
        assert "\x1b" not in cause
