"""Plans and files for the tests of training: real data where a model is fitted, made-up rows where one is refused."""

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.training.plan import Plan, decode_plan

WEATHER = Path(__file__).parents[2] / "models" / "seattle_weather"

SMALL: dict[str, dict[str, list[Any]]] = {
    "logistic_regression": {"C": [10.0]},
    "linear_regression": {},
    "random_forest": {"n_estimators": [10], "min_samples_leaf": [3]},
    "gradient_boosting": {"max_iter": [10], "max_leaf_nodes": [8]},
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
    minimum_rows: int = 1,
    holdout: float = 0.2,
) -> Plan:
    """A plan with small grids."""
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
            },
            "evaluation": {"metric": metric, "holdout": holdout, "min_improvement": 0.0, "tolerance": 1e-4},
            "automatic": True,
            "minimum_rows": minimum_rows,
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
    return [(WEATHER / "data" / f"{year}.csv").read_bytes() for year in years]


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
