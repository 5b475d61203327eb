"""The command line as somebody uses it: a project in a folder, a registry in memory, and how a command ended."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli import main
from modelyard.cli.session import Session
from modelyard.times import utc_now
from tests.fakes.broken_stores import Outage
from tests.fakes.onnx_models import row_sum
from tests.fakes.registries import Yard

PROJECT = Path(__file__).parents[2]
PYTHON = PROJECT / "layers" / "core" / "python"
OF_AWS = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def causes(self) -> list[str]:
        """The lines that say what was wrong."""
        return [line for line in self.err.splitlines() if line.startswith("modelyard: ")]

    @property
    def next_steps(self) -> list[str]:
        """The lines that say what to run next."""
        return [line for line in self.err.splitlines() if line.startswith("  next: ")]

    def refused(self, code: int, *said: str) -> str:
        """Check that it ended as an error should, with these words in its cause; return the cause."""
        shown = f"exit {self.code}\n{self.out}\n{self.err}"
        assert self.code == code, shown
        assert "Traceback" not in self.err + self.out, shown
        assert "\x1b" not in self.err, shown
        assert len(self.causes) == 1, shown
        assert len(self.next_steps) == 1, shown
        assert len(self.next_steps[0]) > len("  next: "), shown
        for words in said:
            assert words in self.causes[0], shown
        return self.causes[0]

    def refused_by_the_parser(self, *said: str) -> None:
        """Check that Typer refused an argument: the words, and where help is."""
        shown = " ".join(self.err.replace("│", " ").split())
        assert self.code == 2, shown
        assert "Traceback" not in shown
        assert "-h' for help" in shown
        for words in said:
            assert words in shown, shown

    def done(self) -> str:
        """Check that it ended well; return what it printed."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self.out


class CommandLine(Yard):
    """A project in ``folder`` whose registry is in memory, and the commands that somebody types in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__()
        self.clock = utc_now  # type: ignore[assignment]  # some commands ask how long ago something was
        self.folder, self._capsys = folder, capsys
        self.outage: Outage | None = None
        self.actor = "ana"
        folder.mkdir()
        shutil.copy(PROJECT / "environments.toml", folder)
        self.add_model("sums")
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MODELYARD_ENV", raising=False)
        monkeypatch.setenv("MODELYARD_HOME", str(folder.parent / "home"))
        for name in OF_AWS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Session, "registry", property(lambda _: self.seen()))
        monkeypatch.setattr(Session, "actor", property(lambda _: self.actor))

    def seen(self) -> Any:
        """The registry, behind the outage if there is one."""
        if self.outage is None:
            return self.registry(self.actor)
        return self.registry(
            self.actor, records=self.outage.over(self.records), artifacts=self.outage.over(self.artifacts)
        )

    def add_model(self, name: str, artifact: bytes | None = None) -> Path:
        """A folder in ``models`` with a small ONNX file."""
        folder = self.folder / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(row_sum() if artifact is None else artifact)
        (folder / "model.toml").write_text(
            f'[model]\nname = "{name}"\ntask = "regression"\ndescription = "Adds."\nowner = "Ana"\n'
            'artifact = "model.onnx"\n'
        )
        return folder

    def run(self, *arguments: str) -> Ended:
        """Run one command in this process."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main(list(arguments))
        code = ended.value.code
        captured = self._capsys.readouterr()
        return Ended(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    def everything(self) -> dict[str, Any]:
        """All records and all bytes, to see whether a command changed anything."""
        return {
            "records": {pk: dict(items) for pk, items in self.records._items.items() if items},
            "objects": dict(self.artifacts.objects),
        }


class Interrupted(Outage):
    """Ctrl-C at one call to a store, before it is sent or after it was applied."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        self._at, self._after = at, after

    def call(self, name: str, act: Callable[[], Any], between_parts: Callable[[], Any] | None = None) -> Any:
        """Make the call, unless it is the one."""
        number = len(self.calls)
        self.calls.append(name)
        if number != self._at:
            return act()
        if self._after:
            act()
        raise KeyboardInterrupt


def child(*arguments: str, folder: Path, is_buffered: bool = True, **settings: Any) -> Ended:
    """Run one command in a process of its own, without a terminal and without anybody's credentials."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MODELYARD_"))}
    environ |= {"PYTHONPATH": str(PYTHON), "MODELYARD_HOME": str(folder / "home"), "PYTHONUTF8": "1"}
    environ["PYTHONUNBUFFERED"] = "" if is_buffered else "1"
    parts: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "timeout": 60} | settings
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard", *arguments],
        cwd=folder, env=environ, stderr=subprocess.PIPE, check=False, **parts,
    )  # fmt: skip
    return Ended(ended.returncode, (ended.stdout or b"").decode(), ended.stderr.decode())
