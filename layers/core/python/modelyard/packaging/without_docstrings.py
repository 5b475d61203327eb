"""``compileall`` whose bytecode has no docstrings; run as a script by the Python that will import it.

``python -OO`` leaves them out as well, and with them every ``assert``, and looks for its bytecode under another name.
"""

import ast
import compileall
import importlib.machinery
import sys
from types import CodeType
from typing import Any


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same module without any docstring; line numbers stay."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        while node.body and _is_text(node.body[0]):  # what follows a docstring would else become it
            text = node.body.pop(0)
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), text))
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _source_to_code(_: Any, data: bytes, path: str, *, _optimize: int = -1) -> CodeType:
    return compile(without_docstrings(ast.parse(data, path)), path, "exec", dont_inherit=True, optimize=_optimize)


if __name__ == "__main__":
    importlib.machinery.SourceFileLoader.source_to_code = _source_to_code  # type: ignore[assignment,method-assign]
    sys.exit(not compileall.main())  # type: ignore[attr-defined]
