"""Files that a command writes for a person: whole or not at all, and only where one can be."""

import secrets
from pathlib import Path

from modelyard.errors import UsageError


def check_output(output: Path) -> None:
    """Refuse a place where no file can be, before anything is read.

    Raises:
        UsageError: With code ``invalid_output``.
    """
    if output.is_dir() or not output.resolve().parent.is_dir():
        problem = "is a folder" if output.is_dir() else f"cannot be written: {output.parent} is not a folder"
        raise UsageError(
            f"{output} {problem}", code="invalid_output", next_step="Name a file in a folder that is there."
        )


def write_whole(output: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = output.with_name(f".{output.name}-{secrets.token_hex(4)}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
