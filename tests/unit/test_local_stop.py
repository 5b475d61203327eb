"""A stop of the local AWS waits until its state is saved, and not until its workflows have ended."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelyard.local import emulator
from modelyard.local.emulator import LocalAws

SAVES = """
import pathlib, signal, sys, time
state, log, seconds = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), float(sys.argv[4])

def save(*_):
    for name, takes in (("dynamodb", 0.0), ("lambda", seconds), ("stepfunctions", 0.0)):
        part = state / f"{name}.json.tmp"
        part.touch()
        time.sleep(takes)
        part.rename(state / f"{name}.json")
        with log.open("a") as file:
            print(f"Persistence: saved {name} state", file=file)

signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    time.sleep(60)
"""
"""Saves as MiniStack does, and then waits for ever, as for a workflow that waits for a person."""


@contextmanager
def running(home: Path, *, lambda_takes_s: float) -> Iterator[LocalAws]:
    local = LocalAws(home=home, port=1, python=Path(sys.executable))
    services = local.state / "services"
    services.mkdir(parents=True)
    arguments = ["ministack", str(services), str(local.log), str(lambda_takes_s)]
    with subprocess.Popen([sys.executable, "-c", SAVES, *arguments], stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            program.stdout.readline()
            local._child = program
            local._record.write_text(json.dumps({"pid": program.pid, "port": 1}))
            yield local
        finally:
            program.kill()


def test_a_part_that_takes_long_to_write_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "SAVED_S", 0.4)
    with running(tmp_path, lambda_takes_s=1.2) as local:
        assert local.stop()
        saved = {path.name for path in (local.saved / "services").iterdir()}
    assert saved == {"dynamodb.json", "lambda.json", "stepfunctions.json"}, "what comes after it is saved as well"


def test_what_is_to_be_forgotten_is_not_saved_first(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(tmp_path, lambda_takes_s=30) as local:
        local.forget()
        assert not local.state.exists()
        assert local._child is not None
        assert local._child.poll() is not None, "it has ended"
    assert time.monotonic() - began < 10
