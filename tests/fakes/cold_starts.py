"""A function in a process of its own, as Lambda starts it first: what it imports, and what it refuses to start with."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
ANSWER = """
import importlib, json, sys
response = importlib.import_module(sys.argv[1]).handler(json.loads(sys.stdin.read()), None)
assert response["statusCode"] == 200, response
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


def imported_by(function: str, event: Any, environment: Mapping[str, str], *, of: Iterable[str]) -> list[str]:
    """Which of the modules ``of`` a start and one answer import; the answer has to be 200, and nothing on stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = _run([ANSWER, function, *of], {**kept, **environment}, json.dumps(event))
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    found: list[str] = json.loads(ran.stdout.splitlines()[-1])
    return found


def refusal_of(function: str, environment: Mapping[str, str]) -> str:
    """What a function says that does not start in this environment."""
    ran = _run([f"import {function}"], environment)
    assert ran.returncode == 1
    return ran.stderr


def _run(script: list[str], environment: Mapping[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", *script],
        input=text,
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
