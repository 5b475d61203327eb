"""The page about what an endpoint speaks names every route, form and code that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.control.routes import MODEL_ROUTES, SERVER_ROUTES
from modelyard.serving.endpoint import TYPES
from modelyard.serving.oip.server import INFER, READY
from modelyard.serving.oip.server import TYPES as OIP_TYPES

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "protocols.md").read_text()
LIBRARY = PROJECT / "layers" / "core" / "python" / "modelyard"
SOURCES = [
    *(LIBRARY / "serving" / "oip").glob("*.py"),
    *(LIBRARY / "serving" / "forms").glob("*.py"),
    *(LIBRARY / "serving" / name for name in ("endpoint.py", "feedback.py", "follow.py", "request.py", "response.py",
                                               "routing.py")),
    LIBRARY / "labels.py",
    *(LIBRARY / "predictor" / f"{name}.py" for name in ("code", "decode", "encode", "enforcement", "predictor",
                                                        "reader", "values")),
]  # fmt: skip
AT_LOADING = {"invalid_signature", "code_not_loadable", "wrong_digest", "form_not_loaded"}
"""What a version is refused for before it answers; callers see `model_unavailable`."""


def _strings(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def codes(path: Path) -> set[str]:
    """Codes that a module gives errors, also where a condition chooses one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            found.update(text for part in node.keywords if part.arg == "code" for text in _strings(part.value))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_code_is_on_the_page(path: Path) -> None:
    assert [code for code in sorted(codes(path) - AT_LOADING) if f"`{code}`" not in PAGE] == []


def test_the_codes_are_found_in_the_source() -> None:
    assert {"wrong_shape", "out_of_range"} <= codes(LIBRARY / "predictor" / "values.py")


def test_every_route_is_on_the_page() -> None:
    actions = (f"/v2/models/{{name}}/{READY}", f"/v2/models/{{name}}/{INFER}")
    for _, path in (*SERVER_ROUTES, *(route for route in MODEL_ROUTES if "proxy" not in route[1])):
        assert f"{path}`" in PAGE, path
    assert all(f"{path}`" in PAGE for path in actions)


def test_every_content_type_is_on_the_page() -> None:
    assert all(kind in PAGE for kind in (*TYPES[1:], *filter(None, OIP_TYPES)))


def test_the_files_that_it_names_are_there() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (PROJECT / "docs" / link).exists(), link
    assert (PROJECT / "tests" / "fixtures" / "oip").is_dir()


def test_its_python_compiles() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "docs/protocols.md", "exec")
