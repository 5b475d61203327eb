"""How good is a model that nobody tuned? The trainer beside scikit-learn and LightGBM, each tuned by hand.

Real data from packages. Each task's rows are divided several times; in each division three models learn from the same
rows and answer the same others:

- **configured**: Modelyard's trainer with the columns and the target named and nothing else: every kind of candidate,
  its built-in settings, its time budget. What answers is the ONNX file that would be served;
- **scikit-learn by hand** and **LightGBM by hand**: `by_hand.py`: usual pipelines, a grid search over the settings that
  matter, five folds, both cores; the best of the library's own cross-validation answers.

The claim: by the task's metric, the mean of the configured model's divisions is at most 1 % worse than that of the
better of the two libraries, whichever that is (known only afterwards, so it favours the libraries).

    python benchmarks/training/quality.py [--quick] [--json] [NAME...]

Names run only these tasks. The digits are divided once: with ten classes a grid over boosted trees takes an hour.
"""

import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import by_hand
import tasks
from measuring import script
from measuring.picture import Bar, bars
from measuring.table import table

from modelyard.metrics import METRICS, Labelled, Measured
from modelyard.predictor.predictor import Predictor
from modelyard.training.plan import decode_plan
from modelyard.training.table import read_table
from modelyard.training.trainer import train

DIVISIONS, DIVISIONS_OF_MANY, MANY = 15, 3, 1_000
"""Five fifths answer every row once. A fifth of a few hundred rows is a small sample: there, three times five fifths.
Three fifths are enough where there are many rows. In time there are five tenths, or three."""
ONCE = ("digits",)
TIMEOUT_S, QUICK_TIMEOUT_S = 600, 6
QUICK = ("wine", "diabetes", "sunspots")
ALLOWED = 1.01
SIDES = ("configured", "scikit-learn", "lightgbm")


def main() -> None:
    names = [word for word in sys.argv[1:] if word in tasks.TASKS]
    sys.argv[1:] = [word for word in sys.argv[1:] if word not in names]
    script.run(
        "The configured trainer beside scikit-learn and LightGBM tuned by hand.",
        lambda quick: measure(quick, names or (QUICK if quick else tuple(tasks.TASKS))),
    )


def measure(quick: bool, names: Sequence[str]) -> script.Result:
    figures: dict[str, float] = {}
    claims, rows, drawn = [], [], []
    for name in names:
        task = tasks.TASKS[name]()
        found, seconds, winners = _task(task, quick=quick)
        better = METRICS[task.metric].lower_is_better
        best = (min if better else max)(found["scikit-learn"], found["lightgbm"])
        ratio = found["configured"] / best if better else best / found["configured"]
        figures |= {f"{name}.{side}": round(found[side], 5) for side in SIDES}
        figures |= {f"{name}.{side}.seconds": round(seconds[side], 1) for side in SIDES}
        figures[f"{name}.ratio"] = round(ratio, 4)
        claims.append(script.Claim(f"{name}: {task.metric} beside the better library", round(ratio, 4), ALLOWED))
        drawn.append(Bar(name, ratio, f"{ratio:.3f}", ours=True))
        rows.append(
            (
                name,
                task.metric,
                len(task.rows) - 1,
                *(f"{found[side]:.4f}" for side in SIDES),
                f"{ratio:.3f}",
                *(f"{seconds[side]:.0f}" for side in SIDES),
                ", ".join(sorted(winners)),
            )
        )
        print(*rows[-1], file=sys.stderr, flush=True)
    head = ("task", "metric", "rows", *SIDES, "ratio", "s", "s", "s", "chosen")
    report = table(head, rows)
    note = "Ratio: how much worse than the better library; below 1 is better. Seconds are those of one division."
    pictures = {"quality.svg": bars("Error beside the better library tuned by hand (1 = equal, less is better)", drawn)}
    return script.Result(f"{report}\n\n{note}", figures, claims, pictures)


def _task(task: tasks.Task, *, quick: bool) -> tuple[dict[str, float], dict[str, float], set[str]]:
    """The metric and the seconds of each side, as means over the divisions, and what the trainer chose."""
    scores: dict[str, list[float]] = {side: [] for side in SIDES}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    winners: set[str] = set()
    count = 1 if quick or task.name in ONCE else DIVISIONS if len(task.rows) < MANY else DIVISIONS_OF_MANY
    for learned, answered in tasks.divisions(task, count):
        began = time.monotonic()
        score, candidate = _configured(task, learned, answered, quick=quick)
        winners.add(candidate)
        scores["configured"].append(score)
        seconds["configured"].append(time.monotonic() - began)
        for side in SIDES[1:]:
            began = time.monotonic()
            scores[side].append(_by_hand(task, side, learned, answered, quick=quick))
            seconds[side].append(time.monotonic() - began)
    means = [{side: float(np.mean(values)) for side, values in found.items()} for found in (scores, seconds)]
    return means[0], means[1], winners


def _configured(task: tasks.Task, learned: list[int], answered: list[int], *, quick: bool) -> tuple[float, str]:
    document = task.plan(QUICK_TIMEOUT_S if quick else TIMEOUT_S)
    if task.by_time:  # the rows' order is their time
        document["evaluation"]["split"] = {"by": "time", "column": "when"}
    plan = decode_plan(document)
    files = [_with_time(task, rows) for rows in (learned, answered)]
    training, evaluation = (read_table(plan, [file]).table for file in files)
    if training is None or evaluation is None:
        raise SystemExit(f"{task.name}: the rows are refused")
    result = train(plan, training, evaluation)
    answers = Predictor.load(result.model).predict(evaluation.instances())
    if task.kind == "regression":
        return METRICS[task.metric].score(Measured(evaluation.target, np.array(answers))), result.candidate
    classes = list(answers[0]["probabilities"])
    matrix = np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
    return METRICS[task.metric].score(
        Labelled.from_matrix(evaluation.target.tolist(), matrix, classes)
    ), result.candidate


def _with_time(task: tasks.Task, rows: list[int]) -> bytes:
    if not task.by_time:
        return task.csv(rows)
    header, *lines = task.csv(rows).decode().splitlines()
    stamped = [f"{line},{np.datetime64('1000-01-01') + row}" for line, row in zip(lines, rows, strict=True)]
    return "\n".join([f"{header},when", *stamped]).encode()


def _by_hand(task: tasks.Task, side: str, learned: list[int], answered: list[int], *, quick: bool) -> float:
    columns = {name: task.column(name) for name in task.features}
    matrix, numbers, categories = by_hand.matrix_of(columns, task.features)
    target: Any = np.array(task.column(task.target), dtype=float if task.kind == "regression" else object)
    library = by_hand.lightgbm if side == "lightgbm" else by_hand.scikit_learn
    candidates = library(task.kind, task.metric, numbers, categories)
    if quick:
        candidates = [(pipeline, {name: values[:1] for name, values in grid.items()}) for pipeline, grid in candidates]
    folds = by_hand.folds_of(task.kind, by_time=task.by_time)
    model = by_hand.tuned(candidates, matrix[learned], target[learned], task.metric, folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if task.kind == "regression":
            return METRICS[task.metric].score(Measured(target[answered], model.predict(matrix[answered])))
        if task.metric != "log_loss":
            labels = model.predict(matrix[answered]).tolist()
            return METRICS[task.metric].score(Labelled.of(target[answered].tolist(), labels, np.ones(len(labels))))
        probabilities = model.predict_proba(matrix[answered])
    labelled = Labelled.from_matrix(target[answered].tolist(), probabilities, model.classes_.tolist())
    return METRICS[task.metric].score(labelled)


if __name__ == "__main__":
    main()
