"""From a prediction to the verdict: captured in shadow by an endpoint, labelled through it, read by the judge."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest

from modelyard.rollout.observed import Observed, keep, observations, observe
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.policy import Policy
from modelyard.rollout.record import Rollout
from modelyard.rollout.verdict import Verdict, verdict
from modelyard.times import stamp
from tests.fakes import onnx_models
from tests.fakes.endpoint import Answer, event
from tests.fakes.stores import InMemoryArtifactStore
from tests.fakes.trials import NAME, TrialStand

REQUESTS, ROWS = 260, 4
POLICY = Policy(min_samples=200, max_error_rate=0.02, max_latency_ratio=None, max_memory_growth_mb=None)
PLAN = RolloutPlan(model=NAME, shadow=Shadow(5, 10), steps=(Step(5, 1),), policy=POLICY)


class Yard:
    """An endpoint with a challenger in shadow, and the judge of its rollout."""

    def __init__(self, noise: float) -> None:
        self.began = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        self.stand = TrialStand(onnx_models.noisy_classifier(0.0))
        self.stand.shadow(2, onnx_models.noisy_classifier(noise))
        self.artifacts = InMemoryArtifactStore()
        at = stamp(self.began)
        self.rollout = Rollout(
            model=NAME, rollout_id="r", version=2, champion=1, deployed=1, started_at=at, started_by="ana", plan=PLAN,
            phase=0, since=at,
        )  # fmt: skip

    def predict(self) -> dict[str, list[int]]:
        """Ask, and say what is true of each row by prediction: what the champion answers."""
        drawn = np.random.default_rng(7).normal(size=(REQUESTS, ROWS, 3)).astype(np.float32)
        truth = {}
        for rows in drawn:
            answer = self.stand.predict(*({"logits": row.tolist()} for row in rows))
            truth[answer.json["prediction_id"]] = rows.argmax(axis=1).tolist()
            self.stand.wait()
        return truth

    def label(self, labels: list[dict[str, Any]]) -> Answer:
        made = event(
            "POST", f"/models/{NAME}/feedback", json.dumps({"labels": labels}),
            headers={"content-type": "application/json"},
        )  # fmt: skip
        return self.stand.send(made)

    def look(self) -> tuple[Observed, Verdict]:
        """As the workflow's judge does it."""
        self.stand.records()
        for key, content in self.stand.objects._objects.items():
            if key.startswith(("captures/", "feedback/")):
                self.artifacts.put_if_absent(key, content, content_type="application/x-ndjson")
        found, etag = observe(self.artifacts, self.rollout, dt.datetime.now(dt.UTC))
        keep(self.artifacts, self.rollout, found, etag)
        return found, verdict(observations(self.rollout, found), POLICY)


def rows_of(truth: dict[str, list[int]], **changed: Any) -> list[dict[str, Any]]:
    return [
        {"prediction_id": name, "row": row, "label": value, **changed}
        for name, values in truth.items()
        for row, value in enumerate(values)
    ]


@pytest.fixture(scope="module")
def labelled() -> tuple[Yard, dict[str, list[int]], Verdict]:
    """A challenger that answers one row of eight otherwise, before there are labels."""
    yard = Yard(noise=0.3)
    truth = yard.predict()
    return yard, truth, yard.look()[1]


def test_late_labels_abort_a_challenger_that_agrees_and_is_worse(
    labelled: tuple[Yard, dict[str, list[int]], Verdict],
) -> None:
    yard, truth, before = labelled
    assert (before.decision, [check for check in before.checks if check.name == "quality"]) == ("promote", [])
    wrong = rows_of(dict(list(truth.items())[:20]), label=0)
    assert yard.label(wrong).json["accepted"] == 20 * ROWS
    assert yard.label(rows_of(truth)).json["accepted"] == REQUESTS * ROWS, "which corrects the first"
    found, after = yard.look()
    assert (len(found.labels), found.unreadable) == (REQUESTS * ROWS, 0)
    (quality,) = [check for check in after.checks if check.name == "quality"]
    assert (after.decision, after.cause) == ("abort", "worse_by_labels")
    assert (quality.samples, quality.state) == (REQUESTS, "beyond")
    assert 0.05 < (quality.statistic or 0) < 0.2


def test_labels_of_predictions_that_nobody_kept_count_for_nothing(
    labelled: tuple[Yard, dict[str, list[int]], Verdict],
) -> None:
    yard, _, _ = labelled
    before = yard.look()[1]
    assert yard.label(rows_of({f"{number:032x}": [0] for number in range(500)})).status == 200
    assert yard.look()[1].checks == before.checks
