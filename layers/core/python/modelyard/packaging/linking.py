"""Fifth stage, for the core layer: the bytecode that every start of an endpoint reads, in one file.

For each module Python looks into its folder, stats the source, and opens, measures and reads the bytecode: a tenth of a
millisecond, of a start that takes fifty. There are forty. So they lie once more in one file, without docstrings, which
no endpoint shows, and `modelyard` itself takes them from there when they are imported. Without the file, or for a
module that is not in it, everything goes the usual way.

The list is written down, since a layer for another processor cannot be run here; a test compares it with what the
endpoint imports (`tests/functions/test_linked_start.py`).
"""

import marshal
from pathlib import Path

FILE = "start.bin"
"""In the folder of the package; `modelyard` reads it."""

_HEADER = 16
"""Bytes of a ``.pyc`` before its code."""

_FORMAT = 2
"""Of marshal: without references, which would depend on what else the interpreter holds."""

_BELOW: dict[str, tuple[str, ...]] = {
    "": ("errors", "pointer_key", "sha256"),
    "aws": ("objects",),
    "compiling": ("kernel", "loading"),
    "contract": ("document",),
    "predictor": (
        *("array", "arrays", "c_api", "code", "columns", "decode", "encode", "enforcement", "failures", "lean"),
        *("predictor", "reader", "signature", "slot", "standard", "structs", "threads"),
    ),
    "serving": (
        *("afterwards", "audit", "endpoint", "exchange", "fetching", "follow", "json_text", "loading", "pointer"),
        *("problem", "request", "response", "settings", "start"),
    ),
}

MODULES: tuple[str, ...] = tuple(
    sorted(
        ".".join(filter(None, ("modelyard", folder, name)))
        for folder, names in _BELOW.items()
        for name in (*names, *(("",) if folder else ()))
    )
)
"""Of both engines, with a model that is compiled, or has code of its own, or neither."""


def link(tree: Path) -> None:
    """Write the file into a compiled core layer.

    Args:
        tree: The folder that holds ``modelyard``, with the bytecode of one version of Python, as it will lie in the
            file.
    """
    linked = {}
    for module in MODULES:
        path = tree.joinpath(*module.split("."))
        package = path.is_dir()
        source = path / "__init__.py" if package else path.with_suffix(".py")
        for bytecode in source.parent.glob(f"__pycache__/{source.stem}.*.pyc"):  # one, or none where it is not there
            below = source.relative_to(tree / "modelyard").as_posix()
            linked[module] = (below, package, bytecode.read_bytes()[_HEADER:])
    (tree / "modelyard" / FILE).write_bytes(marshal.dumps(linked, _FORMAT))
