"""A CSV becomes the draft of a model that is trained here.

The rule: what is drafted is tried before it is written. The text of ``model.toml`` is read back as the spec, the spec
becomes the plan, and the trainer's own reader takes the file by that plan; its findings are the user's.
"""

import dataclasses
import itertools
from collections import Counter
from pathlib import PurePath
from typing import Any

import numpy as np

from modelyard.errors import UsageError
from modelyard.scaffold.columns import describe, shown
from modelyard.scaffold.draft import ColumnDraft, Draft, TrainingDraft
from modelyard.scaffold.naming import plain
from modelyard.scaffold.render import render
from modelyard.spec import parse_model, training_plan
from modelyard.tasks import CANDIDATES, METRICS
from modelyard.training.freezing import choose
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.records import Records, read_records
from modelyard.training.rows import NUMBER
from modelyard.training.table import Table, read_table
from modelyard.version import Task

LARGEST_CSV = 50 * 2**20
"""Bytes. 28 MB with 200,000 rows took 0.9 GB and 20 s here; the training function has 3 GB unless told otherwise."""
LARGE_TABLE = 2_000_000
"""Values from which on the grids are smaller: the training function has 15 minutes."""
MOST_NUMBERED_CLASSES = 20
ROWS_PER_CLASS = 10
"""Whole numbers are read as classes when there are few of them, each in this many rows on average."""
EXAMPLES = 2

_RELATIVE = 0.005
"""The least improvement of a metric between 0 and 1, and of the log loss."""

_GRIDS: dict[str, tuple[dict[str, list[Any]], dict[str, list[Any]]]] = {
    "linear_regression": ({}, {}),
    "logistic_regression": ({"C": [0.1, 1.0, 10.0]}, {"C": [1.0]}),
    "random_forest": (
        {"n_estimators": [100], "min_samples_leaf": [3, 5, 10]},
        {"n_estimators": [100], "min_samples_leaf": [10]},
    ),
    "gradient_boosting": (
        {"learning_rate": [0.05], "max_iter": [40, 80], "max_leaf_nodes": [6, 12]},
        {"learning_rate": [0.1], "max_iter": [100]},
    ),
}
"""What is tried at first: in a table of usual size, and in a large one. Other kinds are for who asks for them."""


def from_csv(
    content: bytes,
    *,
    source: str,
    name: str,
    target: str | None = None,
    task: Task | None = None,
    metric: str | None = None,
) -> Draft:
    """Draft a model that predicts one column of a CSV from the others.

    Args:
        content: The file's bytes.
        source: The file's name.
        name: The model's name.
        target: The column to predict; None takes the last.
        task: None decides by the target's values.
        metric: None takes the task's first.

    Raises:
        UsageError: With code ``invalid_training_data`` and everything that is wrong with the file; ``too_few_rows``;
            ``no_features``; ``wrong_metric``.
    """
    records = _read(content, source, target)
    if target is None:
        target = next(column for column in reversed(records.header) if column)
        target_note = "the last column; --target names another"
    else:
        target_note = "as given"
    columns = {column: [row[at] for row in records.rows] for at, column in enumerate(records.header)}
    answers = columns.pop(target)
    _check_target(target, answers)
    task, task_note = (task, "as given") if task else _task_of(target, answers)
    drafts = tuple(describe(column, texts, answers) for column, texts in columns.items())
    draft = Draft(
        name=name,
        source=source,
        task=task,
        task_note=task_note,
        file=f"data/{plain(PurePath(source).stem) or 'training'}.csv",
        content=content,
        instances=[],
        training=_training(target, target_note, drafts, answers, task, metric),
    )
    return _tried(draft)


def _read(content: bytes, source: str, target: str | None) -> Records:
    records = read_records(content, name=source, expected=() if target is None else (target,))
    problems = list(records.findings)
    if len(records.header) == 1:
        delimiter = next((mark for mark in ";\t|" if mark in records.header[0]), None)
        only = f"the values are separated by {delimiter!r}; expected commas" if delimiter else "has one column only"
        problems = [f"{source}: {only}"]
    elif _are_values(records.header):
        listed = ", ".join(shown(cell) for cell in records.header[:3])
        problems = [f"{source}: its first line looks like values ({listed}); expected the names of the columns"]
    if problems:
        raise _invalid(problems)
    return records


def _are_values(header: tuple[str, ...]) -> bool:
    """Whether a header is mostly numbers, and no count: a data frame without names is written with 0, 1, 2 on top."""
    numbers = [float(cell) for cell in header if NUMBER.fullmatch(cell)]
    counts = all(after > before for before, after in itertools.pairwise(numbers))
    whole = all(number.is_integer() for number in numbers)
    return 2 * len(numbers) > len(header) and not (counts and whole)


def _check_target(target: str, answers: list[str]) -> None:
    different = len({answer for answer in answers if answer})
    if different < 2:
        has = "one value only" if different else "no value at all"
        raise UsageError(
            f"target {target!r} has {has}; there is nothing to learn",
            code="invalid_training_data",
            field="target",
            next_step="Name another column with --target.",
        )


def _task_of(target: str, answers: list[str]) -> tuple[Task, str]:
    """The task that the target's values stand for, and why."""
    distinct = Counter(answer for answer in answers if answer)
    different, rows = len(distinct), distinct.total()
    if all(NUMBER.fullmatch(answer) for answer in distinct):
        whole = all(float(answer).is_integer() for answer in distinct)
        few = different == 2 or (different <= MOST_NUMBERED_CLASSES and different * ROWS_PER_CLASS <= rows)
        if not (whole and few):
            return "regression", f"{target!r} is a number with {different:,} different values"
        what = f"{different} whole numbers; --task regression if they are amounts"
    else:
        if different > max(MOST_NUMBERED_CLASSES, rows // 2):
            raise UsageError(
                f"target {target!r} holds {different:,} different texts in {rows:,} rows, like "
                f"{shown(next(iter(distinct)))}; classes repeat, and an amount is a number",
                code="invalid_training_data",
                field="target",
                next_step="Name another column with --target.",
            )
        what = f"{different} different values"
    return ("binary" if different == 2 else "multiclass"), f"{target!r} has {what}"


def _training(
    target: str,
    target_note: str,
    columns: tuple[ColumnDraft, ...],
    answers: list[str],
    task: Task,
    metric: str | None,
) -> TrainingDraft:
    chosen = metric or METRICS[task][0]
    if chosen not in METRICS[task]:
        raise UsageError(
            f"metric {chosen!r} does not fit task {task!r}; {', '.join(METRICS[task])} do",
            code="wrong_metric",
            field="metric",
            next_step="Choose another with --metric.",
        )
    if not any(column.kind for column in columns):
        reasons = "; ".join(f"{shown(column.name)} {column.note}" for column in columns[:5])
        raise UsageError(
            f"no column is left to learn from: {reasons}",
            code="no_features",
            next_step="Correct the file, or name another column with --target.",
        )
    rows = len(answers)
    large = rows * len(columns) > LARGE_TABLE
    improvement, note = _least_improvement(chosen, answers)
    return TrainingDraft(
        target=target,
        target_note=target_note,
        columns=columns,
        rows=rows,
        metric=chosen,
        min_improvement=improvement,
        min_improvement_note=note,
        candidates=tuple((kind, _GRIDS[kind][large]) for kind in CANDIDATES[task] if kind in _GRIDS),
        minimum_rows=max(1, min(30, rows // 10)),
        timeout_s=900 if large else 600,
    )


def _least_improvement(metric: str, answers: list[str]) -> tuple[float, str]:
    if metric not in ("rmse", "mae"):
        return _RELATIVE, "less than this is not worth a new version"
    numbers = [float(answer) for answer in answers if NUMBER.fullmatch(answer)]
    spread = float(np.std(numbers)) if numbers else 0.0
    return float(f"{spread / 100:.0e}"), "a hundredth of the target's standard deviation, in its own unit"


def _tried(draft: Draft) -> Draft:
    """The draft with what the trainer's reader says about the file, when it accepts it."""
    plan = decode_plan(training_plan(parse_model(render(draft), file="model.toml")))
    reading = read_table(plan, [draft.content], names=[draft.source])
    if reading.table is None:
        raise _invalid(reading.findings)
    _check_sides(plan, draft, reading.table)
    training = draft.training
    if training is None:  # pragma: no cover - this module made it
        return draft
    return dataclasses.replace(
        draft,
        instances=_examples(reading.table, classes=draft.task != "regression"),
        training=dataclasses.replace(
            training, remarks=tuple(remark for remark in reading.remarks if "not used by the model" not in remark)
        ),
    )


def _check_sides(plan: Plan, draft: Draft, table: Table) -> None:
    try:
        left = table.take(~choose(plan, table))
    except UsageError as refusal:
        raise UsageError(
            f"{draft.source}: {refusal.message}", code=refusal.code, next_step="Add rows and run the command again."
        ) from refusal
    if plan.classification and len(set(left.target.tolist())) == 1:
        raise UsageError(
            f"{draft.source}: all {len(left)} rows to train on would be of class {left.target[0]!r}",
            code="too_few_rows",
            next_step="Add rows and run the command again.",
        )


def _examples(table: Table, *, classes: bool) -> list[dict[str, Any]]:
    """Rows of the file as requests: complete ones first, of different classes where there are classes."""
    wanted = np.zeros(len(table), dtype=np.bool_)
    complete = np.ones(len(table), dtype=np.bool_)
    for column in table.columns.values():
        complete &= (column != "") if column.dtype == object else ~np.isnan(column)
    seen: set[Any] = set()
    for row in [*np.flatnonzero(complete).tolist(), *np.flatnonzero(~complete).tolist()]:
        answer = table.target[row]
        if not classes or answer not in seen:
            wanted[row] = True
            seen.add(answer)
        if wanted.sum() == EXAMPLES:
            break
    return table.take(wanted).instances()


def _invalid(findings: Any) -> UsageError:
    return UsageError(
        "\n".join(findings),
        code="invalid_training_data",
        next_step="Correct the file or the options, and run the command again.",
    )
