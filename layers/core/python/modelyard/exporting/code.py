"""The model's own code, and as much of Modelyard as it imports, so that it runs where Modelyard is not installed."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import modelyard

LIBRARY = "modelyard"
AT_HAND = frozenset({"numpy", "onnxruntime", LIBRARY})
"""What own code may import without a word: the first two run the model, and parts of the third come along."""


@dataclass(frozen=True, slots=True)
class OwnCode:
    """Code of a model's own.

    Attributes:
        package: The package with ``preprocess`` and ``postprocess``.
        files: Its files, and those of the library that it imports, by their path below ``python/``.
        unnamed: Those of its files that its digest does not cover.
        needs: Packages that it imports and that do not come along.
    """

    package: str
    files: dict[str, bytes]
    unnamed: tuple[str, ...]
    needs: tuple[str, ...]


def read_own_code(package: str, folder: Path) -> OwnCode:
    """Read the code of a model.

    Args:
        package: The package's name.
        folder: ``python/`` of the model's folder.
    """
    files = {path: (folder / path).read_bytes() for path in _paths(folder)}
    sources = [content for path, content in files.items() if path.endswith(".py")]
    library = _library(sources)
    own = {path.split("/", 1)[0].removesuffix(".py") for path in files}
    imported = {name.partition(".")[0] for source in (*sources, *library.values()) for name in imports(source)}
    return OwnCode(
        package=package,
        files=files | library,
        unnamed=tuple(path for path in files if not path.endswith(".py")),
        needs=tuple(sorted(imported - own - AT_HAND - sys.stdlib_module_names)),
    )


def _paths(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if file.is_file() and not hidden and file.suffix != ".pyc":
            yield inside.as_posix()


def _library(sources: Iterable[bytes]) -> dict[str, bytes]:
    """The library's modules that these sources import, and those that they import in turn."""
    root = Path(modelyard.__file__).parent.parent
    found: dict[str, bytes] = {}
    waiting = [name for source in sources for name in imports(source)]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] != LIBRARY:
            continue
        for length in range(1, len(parts) + 1):  # a module is imported after the packages around it
            place = "/".join(parts[:length])
            path = next((path for path in (f"{place}.py", f"{place}/__init__.py") if (root / path).is_file()), None)
            if path is not None and path not in found:
                found[path] = (root / path).read_bytes()
                waiting.extend(imports(found[path]))
    return found


def imports(source: bytes) -> Iterator[str]:
    """Names that a module imports; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
