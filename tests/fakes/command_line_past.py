"""A project with a past: what most tests of commands begin with."""

import functools
from typing import Any

from modelyard.admission import admit
from tests.fakes.command_line import CommandLine
from tests.fakes.invariants import Shelf
from tests.fakes.onnx_models import row_sum
from tests.fakes.registries import register


def with_a_past(line: CommandLine) -> CommandLine:
    """The model ``sums`` has three versions; 1 and then 2 became live."""
    signature = admit_once()
    for number in (1, 2, 3):
        register(
            line.registry(), "sums", row_sum(float(number)), task="regression", signature=signature,
            metrics={"rmse": number / 10},
        )  # fmt: skip
    for number in (1, 2):
        line.registry("bob").promote("sums", number, reason=f"v{number}")
    for name in line.registry().models().items:
        line.registry().index(name.name)
    (line.folder / "NOTES.md").write_text("# Mind the sums\n")
    (line.folder / "three.onnx").write_bytes(row_sum(4.0))
    return line


def with_an_orphan(line: CommandLine) -> CommandLine:
    """There is an old object of 6 bytes that no version names."""
    now = line.artifacts.clock
    line.artifacts.clock = lambda: now().replace(year=2000)
    line.artifacts.put_if_absent("artifacts/sha256/" + "0" * 64, b"orphan", content_type="x")
    line.artifacts.clock = now
    return line


@functools.cache
def admit_once() -> Any:
    return admit(row_sum())


def sound(line: CommandLine) -> Shelf:
    """The state of the model, when nothing about it is half done."""
    shelf = Shelf(line.records, line.artifacts, "sums")
    assert shelf.violations() == []
    return shelf
