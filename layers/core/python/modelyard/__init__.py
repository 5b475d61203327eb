"""Modelyard: governed, versioned HTTPS endpoints for machine-learning models on AWS Lambda.

This folder is the library and, as it stands, the core Lambda layer. It imports nothing here that Python has not
imported by itself, because every function pays for what this file imports.

onnxruntime's wheels tell Microsoft about models and runs since 1.29, unless this variable says otherwise before the
library is initialised (``Privacy.md`` in the wheel): what an endpoint does is its owner's business. Whoever wants to
tell sets it to 0.
"""

import marshal
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"


def _link() -> None:
    """Take what an endpoint starts with from one file, where a layer has it (`modelyard.packaging.linking`)."""
    folder = __path__[0]
    try:
        with open(f"{folder}/start.bin", "rb") as file:  # noqa: PTH123 - pathlib costs a start 4 ms
            linked = marshal.loads(file.read())  # noqa: S302 - bytecode, as in the files beside it
    except (OSError, EOFError, ValueError, TypeError):
        return  # there are the files beside it

    import sys
    from _frozen_importlib_external import SourceFileLoader, spec_from_file_location

    class Linked(SourceFileLoader):  # type: ignore[misc,unused-ignore]
        def get_code(self, fullname: str) -> object:  # type: ignore[override]
            _, _, code = linked.pop(fullname, (None, None, None))
            return super().get_code(fullname) if code is None else marshal.loads(code)  # noqa: S302 - as above

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> object:
            below, package, _ = linked.get(name, (None, None, None))
            if below is None:
                return None
            file = f"{folder}/{below}"
            inside = [file.removesuffix("/__init__.py")] if package else None
            return spec_from_file_location(name, file, loader=Linked(name, file), submodule_search_locations=inside)

    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type,unused-ignore]


_link()
