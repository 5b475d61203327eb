"""What a person types for a version (``NAME:VERSION``, ``NAME`` for the one that answers) and for a bound on a metric.

The rule: what cannot be one is refused before the first AWS call, and the refusal shows what can be written.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.errors import UsageError
from modelyard.names import name_problem

if TYPE_CHECKING:
    from modelyard.registry import Bounds, Registry
    from modelyard.version import Version

REFERENCE = "NAME or NAME:VERSION, like seattle_weather:3; without a version it is the champion"
"""For the help of an argument."""

Metric = Annotated[
    str | None,
    typer.Option(
        "--metric", help="A metric and a bound, like 'accuracy>=0.9' or 'rmse<=3.5'.", metavar="METRIC>=VALUE"
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most this many.")]

_BOUND = re.compile(r"\s*(.+?)\s*(>=|<=)\s*(\S+)\s*")
_NUMBER = re.compile(r"[1-9][0-9]{0,7}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model and a version's number; None stands for the champion, or the newest where nothing is live."""

    model: str
    number: int | None = None


def parse_reference(text: str, *, model: str | None = None) -> Reference:
    """Read ``NAME`` or ``NAME:VERSION``.

    Args:
        text: What was typed.
        model: The model of a bare ``VERSION``; None allows none.

    Raises:
        UsageError: With code ``invalid_reference``, saying what is allowed.

    Example:
        >>> parse_reference("digits:3")
        Reference(model='digits', number=3)
        >>> parse_reference("4", model="digits")
        Reference(model='digits', number=4)
    """
    if model is not None and _NUMBER.fullmatch(text):
        return Reference(model, int(text))
    name, colon, number = text.partition(":")
    problem = name_problem(name)
    if problem is not None:
        allowed = "VERSION, NAME or NAME:VERSION" if model is not None else "NAME or NAME:VERSION"
        raise _refused(text, f"{problem}; write {allowed}")
    if not colon:
        return Reference(name)
    if not _NUMBER.fullmatch(number):
        problem = f"{ascii(number)[:40]} is not a version number, which is a whole number from 1 to 99999999"
        raise _refused(text, problem, f"Run 'modelyard versions {name}', or leave the version out for the champion.")
    return Reference(name, int(number))


def parse_two(words: Sequence[str]) -> tuple[Reference, Reference]:
    """Read two versions: ``NAME A B``, ``NAME:A NAME:B``, ``NAME:A OTHER:B``; each may be as short as is clear.

    Raises:
        UsageError: With code ``invalid_reference``.
    """
    if len(words) == 3:
        first = parse_reference(words[0])
        if first.number is not None:
            raise _refused(" ".join(words), f"{words[0]!r} names a version already, and two more follow", _TWO)
        words, model = words[1:], first.model
        return parse_reference(words[0], model=model), parse_reference(words[1], model=model)
    if len(words) != 2:
        raise _refused(" ".join(words), f"two versions are compared; named: {len(words)}", _TWO)
    first = parse_reference(words[0])
    return first, parse_reference(words[1], model=first.model)


def find_version(registry: "Registry", reference: Reference) -> "Version":
    """The version that is meant.

    Raises:
        NotFoundError: When the model or the version does not exist.
    """
    if reference.number is not None:
        return registry.version(reference.model, reference.number)
    deployment = registry.deployment(reference.model)
    if deployment is not None:
        return registry.version(reference.model, deployment.champion)
    return registry.versions(reference.model, limit=1).items[0]  # raises when there is no such model


def parse_bounds(text: str) -> "Bounds":
    """Read ``METRIC>=VALUE`` or ``METRIC<=VALUE``.

    Raises:
        UsageError: With code ``invalid_bounds``.
    """
    from modelyard.registry import Bounds

    found = _BOUND.fullmatch(text)
    try:
        value = float(found[3]) if found else float("nan")
    except ValueError:
        value = float("nan")
    if found is None or not math.isfinite(value):
        raise UsageError(
            f"{ascii(text)[:80]} is not a metric with a finite bound",
            code="invalid_bounds",
            field="metric",
            next_step="Write --metric 'accuracy>=0.9' or --metric 'rmse<=3.5', in quotes.",
        )
    return Bounds(metric=found[1], **{"at_least" if found[2] == ">=" else "at_most": value})


_TWO = "Write 'modelyard diff NAME A B' or 'modelyard diff NAME:A OTHER:B'."


def _refused(text: str, problem: str, next_step: str = "Run 'modelyard status' to see the models.") -> UsageError:
    return UsageError(f"{ascii(text)[:80]} is not a version: {problem}", code="invalid_reference", next_step=next_step)
