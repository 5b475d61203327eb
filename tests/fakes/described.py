"""A registry with a model that has a past: trained, measured, promoted, rolled back, described by its owner."""

import hashlib
from typing import Any

import msgspec

from modelyard.card import Card, card_of, gather
from modelyard.card.blocks import Bullets, Owners, Pairs, Paragraph, Section, Table
from modelyard.version import Lineage, OutputSpec, Signature, TensorSpec, TrainingObject, Version
from tests.fakes.registries import Yard, register

RETRAINING = "arn:aws:sts::111122223333:assumed-role/x/Modelyard-local-Retraining-taxi-Register"
ANA = "arn:aws:iam::111122223333:user/ana"
AT = "2026-12-01T09:30:00.000000Z"
CLASSES = ("cheap", "dear", "free")
SIGNATURE = Signature(
    (TensorSpec("km", "float32", (None, 1)), TensorSpec("kind", "string", (None, 1))),
    (OutputSpec("label", "string", (None,)), OutputSpec("probabilities", "float32", (None, 3), CLASSES)),
)


def report(**changes: Any) -> dict[str, Any]:
    """An evaluation report in the form of ``modelyard.retraining.verdict_steps``."""
    return {
        "model": "taxi",
        "run_id": "run-2",
        "champion": 1,
        "training": {
            "status": "trained",
            "candidate": "random_forest",
            "settings": {"n_estimators": 100, "min_samples_leaf": 3},
            "rows": {"read": 1000, "duplicates": 4, "training": 796, "evaluation": 200},
            "remarks": ["2013.csv: 4 rows are there twice"],
            "leaderboard": [{"candidate": "random_forest"}, {"candidate": "baseline"}, {"candidate": "random_forest"}],
            "objects": [],
        },
        "passed": True,
        "reason": "log_loss 0.5 against 0.6 of the champion",
        "metric": "log_loss",
        "metrics": {
            "challenger": {"accuracy": 0.83, "log_loss": 0.5},
            "champion": {"accuracy": 0.8, "log_loss": 0.6},
            "baseline": {"accuracy": 0.4, "log_loss": 1.1},
        },
        "improvement": 0.1,
        "interval": {"low": 0.02, "high": 0.2, "level": 0.95, "resamples": 1000},
        "parity": {"passed": True, "largest": 0.0, "tolerance": 0.001, "rows": 200, "worst": []},
        "rows": 200,
    } | changes


class Described(Yard):
    """Two stores, and the model ``taxi`` in them."""

    def __init__(self) -> None:
        super().__init__()
        self.workflow, self.ana = self.registry(RETRAINING), self.registry(ANA)

    def train(self, body: bytes, told: dict[str, Any] | None = None, **parts: Any) -> Version:
        """A version that the workflow registered, with its report."""
        found = report() if told is None else told
        content = msgspec.json.encode(found)
        key = f"reports/taxi/{hashlib.sha256(content).hexdigest()[:16]}.json"
        self.artifacts.put_if_absent(key, content, content_type="application/json")
        file = self.accept(f"file of {body!r}".encode(), f"{2011 + len(body)}.csv")
        settings: dict[str, Any] = {
            "task": "multiclass",
            "signature": SIGNATURE,
            "metrics": found["metrics"]["challenger"],
            "evaluation": key,
            "lineage": Lineage(source="trained", objects=(file,), parent_version=found["champion"], run_id="run-2"),
            "note": f"random_forest: {found['reason']}",
        }
        return register(self.workflow, "taxi", body, **settings | parts)

    def accept(self, content: bytes, name: str) -> TrainingObject:
        """A training file in the data set."""
        digest = hashlib.sha256(content).hexdigest()
        self.workflow.add_dataset_file(
            "taxi", bucket="data", key=f"taxi/{name}", version_id="v1", sha256=digest, rows=500, size=9, run_id="run-1"
        )
        return TrainingObject("data", f"taxi/{name}", "v1", digest, 500)

    def with_a_past(self) -> "Described":
        """Version 1, then version 2, live one after the other; version 1 again."""
        first = report(champion=None)
        first["metrics"] = {
            "challenger": {"accuracy": 0.79, "log_loss": 0.62},
            "champion": None,
            "baseline": {"accuracy": 0.4, "log_loss": 1.1},
        }
        self.train(b"1", first)
        self.workflow.promote("taxi", 1, reason="log_loss 0.5 against 0.6 of the champion")
        self.train(b"22")
        self.workflow.promote("taxi", 2, reason="it is better")
        self.ana.rollback("taxi", reason="drivers complained")
        return self

    def card(self, number: int = 2, model: str = "taxi") -> Card:
        """The card of a version."""
        return card_of(gather(self.ana, self.ana.version(model, number), at=AT))


def section(card: Card, title: str) -> Section:
    """The section under a heading."""
    return next(found for found in card.sections if found.title == title)


def said(*found: Card | Section) -> str:
    """Everything that cards or sections say, without markup."""
    lines: list[str] = []
    for one in found:
        if isinstance(one, Card):
            lines += ["".join(span.text for span in one.about), *_texts(one.glance), one.state]
            lines += [said(inner) for inner in one.sections]
        else:
            lines += [one.title, *(line for block in one.blocks for line in _texts(block))]
    return "\n".join(lines)


def _texts(block: Any) -> list[str]:
    match block:
        case Paragraph(text):
            return ["".join(span.text for span in text)]
        case Bullets(items):
            return ["".join(span.text for span in item) for item in items]
        case Pairs(rows):
            return [f"{name}: {''.join(span.text for span in text)}" for name, text in rows]
        case Table(head, rows):
            return [" | ".join(head), *(" | ".join("".join(s.text for s in cell) for cell in row) for row in rows)]
        case Owners(markdown):
            return [markdown]
    return []
