"""The interface of a script that `make bench` runs: arguments in, one `Result` out.

    python benchmarks/FOLDER/NAME.py [--quick] [--json]

The rule: figures carry their machine. What is printed says where, when and with which load beside it a number was
measured, and which command gives it again. A claim that does not hold ends the script with status 1, but for
``--quick``, which shows that it runs and not what it costs.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


@dataclass
class Claim:
    """A figure and the most that it may be, or the least."""

    name: str
    found: float
    allowed: float
    unit: str = "x"
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.found >= self.allowed if self.at_least else self.found <= self.allowed


@dataclass
class Result:
    """What a script found.

    Attributes:
        report: Tables and notes, in Markdown.
        figures: Every number by its name.
        claims: What is promised of some of them.
        pictures: SVG by file name.
    """

    report: str
    figures: dict[str, float]
    claims: list[Claim] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)


def run(description: str, measure: Callable[[bool], Result]) -> None:
    """Parse the command line, measure, print.

    Args:
        description: One sentence.
        measure: Takes whether it is to be quick.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run, not what does it cost")
    parser.add_argument("--json", action="store_true", help="print the figures by name, as JSON")
    options = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    result = measure(options.quick)
    machine["load_after"] = _load()
    script = Path(sys.argv[0]).resolve().relative_to(PROJECT)
    document = {
        "command": f".venv/bin/python {script}",
        "quick": options.quick,
        "machine": machine,
        "seconds": round(time.monotonic() - began),
        "figures": result.figures,
        "claims": [claim.__dict__ | {"holds": claim.holds} for claim in result.claims],
        "report": result.report,
        "pictures": result.pictures,
    }
    print(json.dumps(document, indent=2) if options.json else as_text(document))
    if not options.quick and not all(claim.holds for claim in result.claims):
        raise SystemExit(1)


def as_text(document: dict[str, Any]) -> str:
    """A result for the terminal."""
    parts = [machine_line(document["machine"]), document["report"]]
    if document["claims"]:
        parts.append("\n".join(map(claim_line, document["claims"])))
    if document["quick"]:
        parts.append("With --quick: these numbers say nothing.")
    return "\n\n".join(parts)


def claim_line(claim: dict[str, Any]) -> str:
    """A claim as an item of a list."""
    verdict = "holds" if claim["holds"] else "**does not hold**"
    bound = "at least" if claim["at_least"] else "at most"
    return f"- {claim['name']}: {claim['found']:g} {claim['unit']}, {bound} {claim['allowed']:g}: {verdict}"


def describe_machine() -> dict[str, Any]:
    """What a figure depends on and a reader cannot know."""
    return {
        "date": date.today().isoformat(),  # noqa: DTZ011 - the day where it was measured
        "processors": os.cpu_count(),
        "processor": _processor(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load": _load(),
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"Measured on {machine['date']} with {machine['processors']} processors ({machine['processor']}, "
        f"{machine['architecture']}), Python {machine['python']}, load average {machine['load']} before and "
        f"{machine.get('load_after', '?')} after."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
