"""Texts of ``model.toml`` for tests, and what is found wrong with one."""

from pathlib import Path

import pytest

from modelyard.errors import SpecError
from modelyard.spec import load_model, parse_model

TRAINED = """
[model]
name = "weather"
task = "multiclass"

[training]
target = "sky"
features = { wind = { kind = "number" } }
candidates = [{ kind = "logistic_regression", grid = { C = [1.0] } }]

[[triggers]]
prefix = "weather/"

[evaluation]
metric = "log_loss"
"""

EVERYTHING = """
[model]
name = "weather"
task = "multiclass"

[training]
target = "sky"
features = { day = { kind = "date" }, wind = { kind = "number" } }
folds = 3
budget_s = 100
timeout_s = 1000
instance = "ml.m5.xlarge"
usd_per_hour = 0.23

[[training.candidates]]
kind = "logistic_regression"
grid = { C = [1.0] }

[[training.candidates]]
kind = "gradient_boosting"
space = { learning_rate = { low = 0.01, high = 0.3, log = true } }
trials = 5

[[triggers]]
minimum_rows = 30
debounce_s = 60

[[triggers]]
kind = "labels"
prefix = "weather/labels/"
count = 500

[[triggers]]
kind = "schedule"
cron = "0 3 ? * MON *"
timezone = "Europe/Berlin"

[[triggers]]
kind = "alarm"
alarms = ["drift"]
monthly_usd = 50.0

[[triggers]]
kind = "manual"
cooldown_s = 60

[evaluation]
metric = "log_loss"
split = { by = "time", column = "day" }
slices = ["station"]
max_slice_loss = 0.1
max_gap = 0.2
max_latency_ms = 5.0
max_size_mb = 3.0
"""
"""A key of retraining that a spec may have stands here, but for ``entry``, which has no candidates beside it."""

BROUGHT = """
[model]
name = "digits"
task = "multiclass"
artifact = "digits.onnx"
"""


def findings(text: str) -> list[str]:
    """Everything that is wrong with a text."""
    with pytest.raises(SpecError) as caught:
        parse_model(text, file="m")
    return [finding.removeprefix("m: ") for finding in caught.value.findings]


def changed(text: str, old: str, new: str) -> str:
    """A text with a part replaced, which it has."""
    assert old in text
    return text.replace(old, new)


def folder(tmp_path: Path, name: str, text: str, *files: str) -> Path:
    """The folder of a model with this spec and further files."""
    path = tmp_path / "models" / name
    for file in (*files, "model.toml"):
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_text(text if file == "model.toml" else "x")
    return path


def folder_findings(path: Path) -> list[str]:
    """Everything that is wrong with a model's folder."""
    with pytest.raises(SpecError) as caught:
        load_model(path)
    return list(caught.value.findings)
