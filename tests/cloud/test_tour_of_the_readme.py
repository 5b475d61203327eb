"""The README's tour, line by line, as a newcomer would type it after ``make up``."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cloud.conftest import PROJECT, System

README = (PROJECT / "README.md").read_text()
REFRESH_S = 10


def _tour() -> list[str]:
    tour = README.partition("## A tour in five minutes")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", tour, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert len(commands) >= 10
    return commands


@pytest.mark.usefixtures("system")
def test_every_command_of_the_tour_works(system: System) -> None:
    environ = {**system.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # Other tests may have gone before: start where the tour starts, with version 1 live.
    if system.json("status")[1]["live"] != 1:
        system.run("promote", "seattle_weather", "1", "--reason", "start of the tour")
        time.sleep(REFRESH_S)
    shown = {}
    for command in _tour():
        if command.startswith("export PATH"):
            continue
        ended = subprocess.run(
            ["bash", "-c", command], cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        shown[command] = ended.stdout + ended.stderr
    said = "\n".join(shown.values())
    assert "Traceback" not in said
    assert "duplicate" in said
    assert "rolled back" in said
    assert '"kind":"audit"' in said.replace(" ", "")


def test_the_two_commands_are_there() -> None:
    assert "make up" in README
    assert "make test" in README


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_no_number_is_left_to_be_measured() -> None:
    assert "MEASURED" not in README
