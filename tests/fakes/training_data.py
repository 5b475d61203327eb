"""Plans and files for the tests of training: real data where a model is fitted, made-up rows where one is refused."""

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.training.freezing import choose
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.table import Table, read_table

WEATHER = Path(__file__).parents[2] / "models" / "seattle_weather"

SMALL: dict[str, dict[str, list[Any]]] = {
    "logistic_regression": {"C": [10.0]},
    "linear_regression": {"alpha": [0.0]},
    "random_forest": {"n_estimators": [10], "min_samples_leaf": [3]},
    "gradient_boosting": {"max_iter": [10], "max_leaf_nodes": [8]},
    "lightgbm": {"n_estimators": [10], "num_leaves": [8]},
    "neural_network": {"width": [8], "max_iter": [30]},
}
"""One quick setting for each kind of candidate."""


def plan(
    *,
    target: str,
    features: dict[str, str],
    task: str = "multiclass",
    metric: str = "log_loss",
    kinds: Sequence[str] = ("logistic_regression",),
    grids: dict[str, dict[str, list[Any]]] | None = None,
    folds: int = 3,
    triggers: Sequence[dict[str, Any]] = (),
    holdout: float = 0.2,
    confidence: float = 0.5,
    split: dict[str, Any] | None = None,
    **training: Any,
) -> Plan:
    """A plan with small grids; ``training`` are further keys of its table.

    Its gate is content with what is more likely than not: most tests are about what follows from its answer.
    """
    grids = SMALL if grids is None else grids
    return decode_plan(
        {
            "model": "tested",
            "task": task,
            "training": {
                "target": target,
                "features": {name: {"kind": kind} for name, kind in features.items()},
                "candidates": [{"kind": kind, "grid": grids[kind]} for kind in kinds],
                "folds": folds,
                "seed": 0,
                **training,
            },
            "evaluation": {"metric": metric, "holdout": holdout, "min_improvement": 0.0, "tolerance": 1e-4}
            | {"confidence": confidence}
            | ({"split": split} if split else {}),
            "automatic": True,
            **({"triggers": list(triggers)} if triggers else {}),
        }
    )


def weather_plan(**changes: Any) -> Plan:
    """The weather model's columns with small grids."""
    features = {
        "date": "date",
        "precipitation": "number",
        "temp_max": "number",
        "temp_min": "number",
        "wind": "number",
    }
    return plan(**{"target": "weather", "features": features} | changes)


def weather(*years: int) -> list[bytes]:
    """The weather files of some years."""
    return [next(WEATHER.glob(f"*/{year}.csv")).read_bytes() for year in years]


def dealt_weather() -> list[bytes]:
    """Four years dealt out day by day into four files: each is more of the same, so a model gets better with each."""
    header, *days = weather(2012)[0].splitlines()
    days += [day for year in (2013, 2014, 2015) for day in weather(year)[0].splitlines()[1:]]
    return [b"\n".join([header, *days[at::4], b""]) for at in range(4)]


def csv_file(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


@functools.cache
def iris() -> tuple[bytes, tuple[str, ...]]:
    """Fisher's irises as a CSV file, and its feature columns; their names hold blanks and brackets."""
    from sklearn.datasets import load_iris

    bunch = load_iris()
    names = [str(bunch.target_names[number]) for number in bunch.target]
    header = [*bunch.feature_names, "species"]
    return csv_file(header, [[*row, name] for row, name in zip(bunch.data, names, strict=True)]), tuple(header[:-1])


@functools.cache
def diabetes() -> tuple[bytes, tuple[str, ...]]:
    """Efron's diabetes study as a CSV file, and its feature columns."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    header = [*bunch.feature_names, "progression"]
    return csv_file(header, [[*row, goal] for row, goal in zip(bunch.data, bunch.target, strict=True)]), tuple(
        header[:-1]
    )


@functools.cache
def breast_cancer() -> tuple[bytes, tuple[str, ...]]:
    """The Wisconsin study as a CSV file with the classes 0 and 1, and six of its feature columns."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    header = [*bunch.feature_names[:6].tolist(), "benign"]
    return csv_file(header, [[*row[:6], goal] for row, goal in zip(bunch.data, bunch.target, strict=True)]), tuple(
        header[:-1]
    )


def divided(spec: Plan, files: Sequence[bytes]) -> tuple[Table, Table]:
    """The rows to train on, and the frozen ones, as a first training gets them."""
    table = read_table(spec, files).table
    assert table is not None
    frozen = choose(spec, table)
    return table.take(~frozen), table.take(frozen)


def whole(spec: Plan, file: bytes) -> Table:
    """All rows of a file."""
    table = read_table(spec, [file]).table
    assert table is not None
    return table


@functools.cache
def docstrings() -> bytes:
    """Sentences that people wrote, and which library they are of: first lines of the docstrings of numpy and Python."""
    import asyncio
    import email
    import inspect
    import logging
    import statistics
    import unittest

    import numpy as np

    rows: dict[str, str] = {}
    for kind, modules in {
        "numpy": (np, np.linalg, np.random),
        "python": (asyncio, email, logging, statistics, unittest),
    }.items():
        for module in modules:
            for name in sorted(dir(module)):
                said = inspect.getdoc(getattr(module, name, None)) if not name.startswith("_") else None
                if said and module.__name__.split(".")[0] in str(getattr(getattr(module, name), "__module__", "")):
                    rows.setdefault(" ".join(said.split("\n\n")[0].split())[:400], kind)
    return csv_file(["said", "library"], sorted(rows.items()))
