"""A lock file as uv compiles it: which distributions, at which versions, and who asked for each.

What a layer installs is decided from this text, before anything is downloaded. Who asked for a package is in uv's
``# via`` comments, which is all that is needed to say what would go with it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==[^\s\\]+")
_VIA = re.compile(r"^\s+#\s+(?:via\s+)?(\S.*)$")


@dataclass(frozen=True)
class Pin:
    """One entry of a lock.

    Attributes:
        name: The distribution, normalised.
        version: The requirement without its hashes: ``numpy==2.5.5 ; python_full_version >= '3.12'``.
        text: The requirement with its hashes, as an installer reads it.
        asked_by: Distributions that need it; empty for what only ``requirements.in`` names.
        is_direct: Whether ``requirements.in`` names it.
    """

    name: str
    version: str
    text: str
    asked_by: frozenset[str]
    is_direct: bool


def normal(name: str) -> str:
    """A distribution's name in the one spelling that counts (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> tuple[Pin, ...]:
    """The entries of a lock, in its order."""
    entries: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if _PIN.match(line):
            entries.append([line])
        elif entries and line.strip():
            entries[-1].append(line)
    return tuple(map(_pin, entries))


def _pin(lines: list[str]) -> Pin:
    wanted = [line for line in lines if not line.lstrip().startswith("#")]
    via = [found[1] for line in lines[1:] if (found := _VIA.match(line)) and found[1] != "via"]
    match = _PIN.match(lines[0])
    assert match is not None  # noqa: S101 - read_lock chose the line by it
    return Pin(
        name=normal(match[1]),
        version=wanted[0].partition("--hash")[0].rstrip(" \\"),
        text="\n".join(wanted),
        asked_by=frozenset(normal(word) for word in via if not word.startswith("-")),
        is_direct=any(word.startswith("-r ") for word in via),
    )


def only_for(name: str, pins: Iterable[Pin]) -> frozenset[str]:
    """``name`` and everything that nothing but it asks for, directly or through others."""
    gone = {name}
    waiting = {pin.name: pin for pin in pins if not pin.is_direct}
    while True:
        freed = {other for other, pin in waiting.items() if pin.asked_by and pin.asked_by <= gone and other not in gone}
        if not freed:
            return frozenset(gone)
        gone |= freed


def versions(pins: Iterable[Pin]) -> dict[str, frozenset[str]]:
    """What each distribution is pinned to: one requirement, or one for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for pin in pins:
        found.setdefault(pin.name, set()).add(pin.version)
    return {name: frozenset(texts) for name, texts in found.items()}
