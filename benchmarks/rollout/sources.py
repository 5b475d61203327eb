"""Real data sets, champions and harmless challengers: what the traffic of `verdicts.py` is made of.

A data set is divided in two: one half trains, the rows of the other are what callers ask. Champion and challenger are
scikit-learn pipelines; each answers every row once, and traffic draws rows with replacement and looks their answers up.
A harmless challenger is the same kind of model, trained again: with another seed, on another bootstrap of the training
half, or with more trees.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels.api as sm
from sklearn import datasets
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROJECT = Path(__file__).parents[2]
Array = Any


@dataclass(frozen=True)
class Source:
    """A data set, divided.

    Attributes:
        name: Its name.
        columns: The columns' names, in the order of the matrix.
        train: The training half: a matrix and the target.
        asked: The rows that callers ask.
        truth: Their target.
        instances: The same rows as requests.
        slices: Columns that the policy slices by.
    """

    name: str
    columns: list[str]
    train: tuple[Array, Array]
    asked: Array
    truth: Array
    instances: list[dict[str, Any]]
    slices: tuple[str, ...]

    @property
    def regression(self) -> bool:
        return self.name in ("diabetes", "affairs")


@dataclass(frozen=True)
class Kind:
    """A kind of model: what makes one from a seed."""

    name: str
    make: Callable[[int], Any]


KINDS = {
    "logistic": Kind(
        "logistic regression", lambda _: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    ),
    "forest": Kind("random forest", lambda seed: RandomForestClassifier(100, min_samples_leaf=3, random_state=seed)),
    "more trees": Kind(
        "random forest", lambda seed: RandomForestClassifier(250, min_samples_leaf=3, random_state=seed)
    ),
    "extra trees": Kind("extra trees", lambda seed: ExtraTreesClassifier(100, min_samples_leaf=3, random_state=seed)),
    "boosting": Kind(
        "gradient boosting",
        lambda seed: HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=seed),
    ),
    "network": Kind(
        "neural network",
        lambda seed: make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=60, tol=1e-2, random_state=seed)),
    ),
    "ridge": Kind("ridge regression", lambda _: make_pipeline(StandardScaler(), Ridge(1.0))),
    "regression forest": Kind(
        "random forest", lambda seed: RandomForestRegressor(100, min_samples_leaf=3, random_state=seed)
    ),
    "regression boosting": Kind(
        "gradient boosting",
        lambda seed: HistGradientBoostingRegressor(max_iter=40, max_leaf_nodes=8, random_state=seed),
    ),
}


def kind_of(name: str) -> str:
    """The champion's kind: the usual one of a data set, or the one after a colon."""
    return name.partition(":")[2] or USUAL[name]


@cache
def source(name: str) -> Source:
    """A data set by its name, divided with a fixed seed; what follows a colon is a kind of model."""
    name = name.partition(":")[0]
    matrix, target, columns, slices = _LOADED[name]()
    order = np.random.default_rng(0).permutation(len(matrix))
    if len(order) > 2_400:
        order = order[:2_400]
    half = len(order) // 2
    learnt, asked = order[:half], order[half:]
    instances = [
        {column: _plain(name, column, value) for column, value in zip(columns, row, strict=True)}
        for row in matrix[asked].tolist()
    ]
    return Source(name, columns, (matrix[learnt], target[learnt]), matrix[asked], target[asked], instances, slices)


@cache
def trained(name: str, kind: str, seed: int, bootstrap: bool = False) -> Any:
    """A pipeline, trained; the same arguments give the same one."""
    matrix, target = source(name).train
    if bootstrap:
        rows = np.random.default_rng(1_000 + seed).integers(0, len(matrix), len(matrix))
        matrix, target = matrix[rows], target[rows]
    return KINDS[kind].make(seed).fit(matrix, target)


def answers(model: Any, matrix: Array) -> list[Any]:
    """What a pipeline answers, as an endpoint writes it."""
    if not hasattr(model, "predict_proba"):
        return [round(float(value), 6) for value in model.predict(matrix)]
    names = [str(name) for name in model.classes_]
    found = []
    for row in model.predict_proba(matrix):
        given = {name: round(float(value), 6) for name, value in zip(names, row, strict=True)}
        found.append({"label": names[int(row.argmax())], "probabilities": given})
    return found


def _plain(name: str, column: str, value: float) -> Any:
    if name == "weather" and column == "month":
        return _MONTHS[int(value) - 1]
    return round(value, 5)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _weather() -> tuple[Array, Array, list[str], tuple[str, ...]]:
    rows = []
    for file in sorted((PROJECT / "models" / "seattle_weather" / "data").glob("*.csv")):
        with file.open(newline="") as lines:
            rows += list(csv.DictReader(lines))
    columns = ["month", "precipitation", "temp_max", "temp_min", "wind"]
    matrix = np.array([[float(row["date"][5:7]), *(float(row[name]) for name in columns[1:])] for row in rows])
    return matrix, np.array([row["weather"] for row in rows]), columns, ("month",)


def _bundled(
    load: Callable[[], Any], slices: tuple[str, ...]
) -> Callable[[], tuple[Array, Array, list[str], tuple[str, ...]]]:
    def read() -> tuple[Array, Array, list[str], tuple[str, ...]]:
        found = load()
        columns = [str(name).replace(" ", "_") for name in found.feature_names]
        target = found.target
        if hasattr(found, "target_names") and len(found.target_names) <= 10:
            target = np.array([str(found.target_names[int(one)]) for one in target])
        return found.data.astype(float), target, columns, slices

    return read


def _fair() -> tuple[Array, Array, list[str], tuple[str, ...]]:
    frame = sm.datasets.fair.load_pandas().data
    columns = [name for name in frame.columns if name != "affairs"]
    target = np.where(frame["affairs"] > 0, "yes", "no")
    return frame[columns].to_numpy(float), target, columns, ("religious",)


def _affairs() -> tuple[Array, Array, list[str], tuple[str, ...]]:
    frame = sm.datasets.fair.load_pandas().data
    columns = [name for name in frame.columns if name not in ("yrs_married", "affairs")]
    return frame[columns].to_numpy(float), frame["yrs_married"].to_numpy(float), columns, ("religious",)


def _anes() -> tuple[Array, Array, list[str], tuple[str, ...]]:
    frame = sm.datasets.anes96.load_pandas().data
    columns = [name for name in frame.columns if name not in ("vote", "logpopul")]
    target = np.where(frame["vote"] > 0, "dole", "clinton")
    return frame[columns].to_numpy(float), target, columns, ("educ",)


_LOADED: dict[str, Callable[[], tuple[Array, Array, list[str], tuple[str, ...]]]] = {
    "weather": _weather,
    "breast_cancer": _bundled(datasets.load_breast_cancer, ()),
    "wine": _bundled(datasets.load_wine, ()),
    "diabetes": _bundled(datasets.load_diabetes, ("sex",)),
    "digits": _bundled(datasets.load_digits, ()),
    "fair": _fair,
    "affairs": _affairs,
    "anes96": _anes,
}

USUAL = {
    "weather": "forest", "breast_cancer": "logistic", "wine": "forest", "diabetes": "regression forest",
    "digits": "network", "fair": "boosting", "affairs": "regression boosting", "anes96": "logistic",
}  # fmt: skip
"""The champion's kind on each data set."""

HARMLESS = (
    ("weather", "forest", "forest", False), ("weather", "forest", "more trees", False),
    ("weather", "boosting", "boosting", True), ("weather", "logistic", "logistic", True),
    ("breast_cancer", "logistic", "logistic", True), ("breast_cancer", "forest", "forest", False),
    ("breast_cancer", "network", "network", False), ("wine", "forest", "forest", False),
    ("wine", "logistic", "logistic", True), ("wine", "extra trees", "extra trees", False),
    ("diabetes", "regression forest", "regression forest", False), ("diabetes", "ridge", "ridge", True),
    ("diabetes", "regression forest", "regression forest", True),
    ("digits", "network", "network", False), ("digits", "logistic", "logistic", True),
    ("digits", "forest", "more trees", False), ("fair", "boosting", "boosting", True),
    ("fair", "logistic", "logistic", True), ("affairs", "regression boosting", "regression boosting", True),
    ("affairs", "regression forest", "regression forest", False), ("anes96", "logistic", "logistic", True),
    ("anes96", "forest", "forest", False),
)  # fmt: skip
"""Data set, the champion's kind, the challenger's, and whether it learnt from a bootstrap of the same rows."""

AGREEMENT = {("diabetes", "regression forest", True): 0.6}
"""What is asked for where a kind of model does not agree with itself in 80 %: trained again on a bootstrap of 221 rows,
a forest agrees with the first one in 74 % to 85 % of all rows."""
