"""How many bytes a response has as Lambda's own runtime client writes it, in a runtime of one's choice."""

from collections.abc import Callable
from typing import Any

import pytest

from modelyard.serving import response


def runtime_client(python: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], int]:
    """As the runtime of this Python does, which the endpoint then knows that it is in."""
    marshaller = pytest.importorskip("awslambdaric.lambda_runtime_marshaller", reason="AWS publishes it for Linux only")
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{python}")
    monkeypatch.setattr(response, "ASCII_ONLY", python == "3.11")
    return lambda answer: len(marshaller.to_json(answer).encode())
