"""Bodies made at random for the feedback route: never a 5xx, one audit line, and stored is what was accepted."""

import contextlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.rollout.observations import Observations
from tests.fakes import onnx_models
from tests.fakes.endpoint import EndpointStand
from tests.functions.test_predict_fuzz import CALLERS_FAULT, EXAMPLES, HOSTILE, changed_bytes, changed_document

IDS = st.sampled_from([f"{number:032x}" for number in (0, 1, 2**64, 2**128 - 1)])
LABELS = st.fixed_dictionaries(
    {"prediction_id": IDS, "label": st.one_of(st.sampled_from(["rain", "sun", "fog", 1, 0.5, True]), HOSTILE)},
    optional={"row": st.one_of(st.integers(0, 3), HOSTILE)},
)
RIGHT = st.builds(
    lambda prediction_id, label, row: {"prediction_id": prediction_id, "label": label, "row": row},
    IDS, st.sampled_from(["rain", "sun", "fog", "x" * 256]), st.integers(0, 99_999),
)  # fmt: skip
DOCUMENTS = st.one_of(
    st.lists(st.one_of(RIGHT, RIGHT, RIGHT, LABELS), max_size=5).map(lambda labels: {"labels": labels}), RIGHT, LABELS
).flatmap(changed_document)
BODIES = st.one_of(
    DOCUMENTS.map(json.dumps),
    DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False)),
    DOCUMENTS.flatmap(lambda document: changed_bytes(json.dumps(document).encode())),
)


@pytest.fixture(scope="module", params=["classes", "number", "nothing live"])
def stand(request: pytest.FixtureRequest) -> EndpointStand:
    models = {"classes": onnx_models.classifier(), "number": onnx_models.row_sum(), "nothing live": None}
    with contextlib.redirect_stdout(io.StringIO()):
        return EndpointStand(models[request.param])


@given(body=BODIES, binary=st.booleans())
@settings(max_examples=EXAMPLES // 4, deadline=None)
def test_whatever_is_sent_is_stored_as_it_was_accepted_or_refused_as_a_problem(
    stand: EndpointStand, body: bytes | str, binary: bool
) -> None:
    before = set(stand.objects._objects)
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
    content_type = "Application/JSON; x" if binary else "application/json"  # the first comes as base64
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        answer = stand.post("/models/weather/feedback", raw, content_type=content_type)
    assert answer.status == 200 or answer.status in CALLERS_FAULT, (answer.status, answer.content)
    (line,) = [json.loads(text) for text in written.getvalue().splitlines()]
    assert (line["kind"], line["status"], line["code"]) == ("audit", answer.status, answer.code)
    new = set(stand.objects._objects) - before
    if answer.status != 200:
        assert (new, line["labels"]) == (set(), 0)
        return
    (key,) = new
    lines = stand.objects._objects[key].splitlines()
    assert len(lines) == answer.json["accepted"] == line["labels"]
    read = Observations(champion=1, challenger=2).add_labels(lines)
    assert (len(read.labels), dict(read.bad)) == (len(lines), {}), "the verdict reads every one of them"
