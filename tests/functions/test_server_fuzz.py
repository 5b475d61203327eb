"""The requests of test_predict_fuzz, over HTTP to a server, straight and in SageMaker's way: answered as by a function.

What must hold for each: no 5xx; the answer that an endpoint gives to the same request as an event; one audit line with
the same status and code, and no other line. ``MODELYARD_FUZZ=100000`` is the long run.
"""

import base64
import contextlib
import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.fakes.endpoint import CONTEXT, EndpointStand, event
from tests.fakes.served import WAYS, ServedStand
from tests.functions.test_predict_fuzz import (
    CALLERS_FAULT,
    MODELS,
    SEARCH,
    _comparable,
    _content,
    requests,
)

OWN_CODE = """
from modelyard.errors import RequestError
from modelyard.predictor.arrays import encode
from modelyard.predictor.signature import Tensor

def preprocess(instances):
    pixels = encode((Tensor("pixels", "float32", (None, 2)),), instances)["pixels"]
    if (abs(pixels) > 1e6).any():
        raise RequestError("too bright", code="too_bright")
    return {"x": pixels}

def postprocess(outputs):
    return [{"sum": total} for (total,) in outputs["y"].tolist()]
"""
OF_REQUESTS = {"accept", "content-type", "content-encoding", "inference-header-content-length"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStand]:
    """A server of all the models."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "own.py").write_text(OWN_CODE)
    with ServedStand(
        {name: model for name, (model, _) in MODELS.items()},
        contracts={name: more.get("contract") for name, (_, more) in MODELS.items()},
        path=folder,
        each={"code": {"MODELYARD_CODE": "own", "MODELYARD_ENGINE": "standard"}},
    ) as started:
        for name in MODELS:
            assert started.get(f"/v2/models/{name}/ready").status == 200
        yield started


def as_sent(made: Any) -> dict[str, Any]:
    """The event of what can be sent of a request that was changed at random."""
    try:
        method, path = made["requestContext"]["http"]["method"], made["rawPath"]
        text = made.get("body", "")
        raw = base64.b64decode(text, validate=True) if made["isBase64Encoded"] else text.encode()
        headers = {name: value for name, value in made["headers"].items() if name in OF_REQUESTS}
        usable = (
            method in ("GET", "POST", "PUT")
            and path.startswith(("/models/", "/v2/models/"))
            and all(value.isprintable() and value == value.strip() for value in (path, *headers.values()))
            and "".join(headers.values()).encode("latin-1") is not None
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        usable = False
    assume(usable)
    return event(method, path, raw, headers=headers)


@pytest.fixture(scope="module")
def oracles() -> dict[str, EndpointStand]:
    with contextlib.redirect_stdout(io.StringIO()):
        return {name: EndpointStand(model, name=name, **more) for name, (model, more) in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_server_answers_whatever_comes_as_a_function_does(
    served: ServedStand, oracles: dict[str, EndpointStand], name: str
) -> None:
    oracle = oracles[name]
    signature = oracle.endpoint._follower.current().predictor.signature
    seen: dict[int, int] = {}

    @SEARCH
    @given(requests(name, signature), st.sampled_from(WAYS))
    def ask(made: Any, way: str) -> None:
        sent = as_sent(made)
        served.lines()
        answer = served.send(sent, way)
        lines = served.lines()
        assert answer.status == 200 or answer.status in CALLERS_FAULT, (answer.status, answer.content, lines)
        assert [(line["kind"], line["status"]) for line in lines] == [("audit", answer.status)], lines
        with contextlib.redirect_stdout(io.StringIO()) as written:
            asked = copy.deepcopy(sent)
            if way == "http":  # nobody signs what goes straight to a server, and the OpenAPI document says so
                del asked["requestContext"]["authorizer"]
            expected = oracle.endpoint.handle(asked, CONTEXT)
        (line,) = [json.loads(text) for text in written.getvalue().splitlines()]
        for key in ("status", "code", "protocol", "instances", "warned", "outcome", "model", "version"):
            assert lines[0][key] == line[key], (key, lines[0], line)
        assert answer.status == expected["statusCode"]
        assert answer.type == expected["headers"]["content-type"]
        found = _content(
            {"headers": answer.headers, "body": base64.b64encode(answer.content).decode(), "isBase64Encoded": True}
        )
        assert _alike(found) == _alike(_content(expected))
        seen[answer.status] = seen.get(answer.status, 0) + 1

    ask()
    assert sum(seen.values()) < 50 or {200, 400} <= set(seen), seen


def _alike(content: Any) -> Any:
    found = _comparable(content)
    if isinstance(found, dict):
        found.pop("request_id", None)
    return found
