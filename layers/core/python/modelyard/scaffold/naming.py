"""A model's name from the name of a file."""

import re
import unicodedata

from modelyard.errors import UsageError
from modelyard.names import name_problem

_LONGEST = 48


def model_name(given: str | None, file: str) -> str:
    """The name that was given, as it is; else one made from the file's, with what a name cannot hold replaced.

    Args:
        given: What the user asks for; None leaves it to the file.
        file: The file's name without its ending.

    Raises:
        UsageError: When the given name is none, or nothing of the file's is left.

    Example:
        >>> model_name(None, "Größe (2024-final)")
        'grosse_2024_final'
    """
    if given is not None:
        problem = name_problem(given)
        if problem is None:
            return given
        alike = plain(given).lower()
        raise UsageError(
            problem,
            code="invalid_name",
            field="name",
            next_step="Give another with --name" + (f", like {alike}." if name_problem(alike) is None else "."),
        )
    name = plain(file).lower()
    if name and not name[0].isalpha():
        name = f"model_{name}"
    if name and name_problem(name) is not None and len(name) <= _LONGEST:
        name = f"{name}_model"  # a reserved word
    name = name[:_LONGEST].rstrip("_")
    if name_problem(name) is not None:
        raise UsageError(
            f"the file's name {file[:80]!a} has nothing that a model's name can be made of",
            code="invalid_name",
            field="name",
            next_step="Give a name: --name NAME, of a-z, 0-9 and '_'.",
        )
    return name


def plain(text: str) -> str:
    """Text in ASCII letters, digits and single underscores; other scripts leave nothing."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return re.sub(r"[^A-Za-z0-9]+", "_", decomposed.encode("ascii", "ignore").decode()).strip("_")
