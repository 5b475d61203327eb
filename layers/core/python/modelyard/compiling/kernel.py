"""What of ours is compiled: is the library here that a form, or the reader of requests, asks for?

A form says in ``requires`` what it cannot be loaded without: the name of a library and the layout that it reads. The
library lies in the lean and the serving layer, and on the developer's machine where `modelyard.packaging.native` built
it. Where it is not, another form serves: nothing fails.

An endpoint imports this only for a form that asks for something, so it costs no other cold start anything: no imports
but os and sys.
"""

import os
import sys

FOREST = "forest-1"
"""Tree ensembles; the number is `modelyard.compiling.packed_forest.LAYOUT`."""

ROWS = "rows-1"
"""The reader of large requests; the number changes with what it is called with (`modelyard.predictor.rows`,
`modelyard.serving.base64_body`)."""

KNOWN = frozenset({FOREST, ROWS})

MOST_THREADS = 1
"""Of a run: on several, onnxruntime adds up trees in another order, and the answers are proven for one."""

FOLDER = "modelyard_native"
"""Beside the packages of a layer."""

_HEADER, _SECTIONS = 64, ((40, 8), (58, 2), (60, 2))
"""Bytes of an ELF header; of what it says of its sections, which are listed last: where, the size of each, how many."""


def find(name: str, threads: int = 1) -> str | None:
    """The path of a library; None where it is not here, is not known, or may not be used on so many threads."""
    if name not in KNOWN or threads > MOST_THREADS:
        return None
    places = (f"{folder or '.'}/{FOLDER}" for folder in sys.path)
    paths = (f"{place}/{name}.so" for place in (*places, built_in()))
    return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113 - pathlib is one import more


def whole(path: str) -> str:
    """The path again, of a library that has its end.

    The system maps as much as a library says that it has, and reading what was cut off ends the process.

    Raises:
        OSError: When it was cut off, or cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        head, size = file.read(_HEADER), os.fstat(file.fileno()).st_size
    begins, each, count = (int.from_bytes(head[at : at + length], "little") for at, length in _SECTIONS)
    if size < begins + each * count:
        raise OSError(f"{path} was cut off: {size:,} bytes of {begins + each * count:,}")
    return path


def built_in() -> str:
    """Where `modelyard.packaging.native` puts the one for this machine, if this package lies in its project."""
    package = __file__.rpartition("/compiling/")[0]
    return f"{package}/../../../../build/native/{os.uname().machine}"
