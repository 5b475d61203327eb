"""From a plan and a candidate to a scikit-learn pipeline that takes the columns as they are.

The rule: every preprocessing step is inside the pipeline, is fitted with it, and has an exact counterpart in ONNX. So
the endpoint needs no code of its own, and cross-validation never sees statistics of the rows it scores.

Numbers are rounded to float32 first, because that is what the endpoint receives. They are standardised for linear
models only: trees do not care about scale, and a standardised number is rounded twice, which can move a row across a
threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skl2onnx.sklapi import CastTransformer
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelyard.errors import UsageError
from modelyard.training.dates import POINTS, place_of
from modelyard.training.plan import Plan, Setting


class PlaceInYear(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """One column of ISO dates to two columns: sine and cosine of the place in the year."""

    def fit(self, dates: NDArray[Any], target: object = None) -> "PlaceInYear":  # noqa: ARG002 - scikit-learn's form
        """Learn nothing."""
        return self

    def transform(self, dates: NDArray[Any]) -> NDArray[np.float32]:
        """Look every date up; what is not a date gets the circle's centre."""
        return POINTS[[place_of(text) for text in dates.ravel().tolist()]]

    def __sklearn_is_fitted__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of candidate is built; None where it does not fit the task."""

    classifier: Callable[[int], Any] | None
    regressor: Callable[[int], Any] | None
    standardised: bool


_KINDS: dict[str, _Kind] = {
    "logistic_regression": _Kind(lambda _: LogisticRegression(max_iter=1000), None, standardised=True),
    "linear_regression": _Kind(None, lambda _: LinearRegression(), standardised=True),
    "random_forest": _Kind(
        lambda seed: RandomForestClassifier(random_state=seed),
        lambda seed: RandomForestRegressor(random_state=seed),
        standardised=False,
    ),
    # early_stopping: left to scikit-learn, it begins at 10,000 rows, and fails where a class has one of them.
    "gradient_boosting": _Kind(
        lambda seed: HistGradientBoostingClassifier(random_state=seed, early_stopping=False),
        lambda seed: HistGradientBoostingRegressor(random_state=seed, early_stopping=False),
        standardised=False,
    ),
}


def build(plan: Plan, kind: str, settings: dict[str, Setting]) -> Pipeline:
    """A pipeline that is not fitted yet.

    Args:
        plan: Names the features and their kinds, the task and the seed.
        kind: Which estimator: the kind of a candidate.
        settings: Its settings; the names are scikit-learn's.

    Raises:
        UsageError: When the kind does not fit the task, or has no such setting.
    """
    entry = _KINDS[kind]
    make = entry.classifier if plan.classification else entry.regressor
    if make is None:
        raise UsageError(
            f"candidate {kind!r} does not fit task {plan.task!r}",
            code="invalid_plan",
            field="training.candidates",
            next_step="Choose another candidate in model.toml.",
        )
    estimator = make(plan.training.seed)
    known = sorted(set(estimator.get_params(deep=False)) - {"random_state"})
    for name in settings:
        if name not in known:
            raise UsageError(
                f"candidate {kind!r} has no setting {name!r}; it has {', '.join(known)}",
                code="invalid_plan",
                field="training.candidates",
                next_step="Correct the candidate's grid in model.toml.",
            )
    estimator.set_params(**settings)
    return Pipeline([("features", _features(plan, standardised=entry.standardised)), ("estimator", estimator)])


def baseline(plan: Plan) -> Any:
    """The answer without learning: the classes' shares, or the mean."""
    return DummyClassifier(strategy="prior") if plan.classification else DummyRegressor(strategy="mean")


def _features(plan: Plan, *, standardised: bool) -> ColumnTransformer:
    numbers: list[tuple[str, Any]] = [
        ("round", CastTransformer(dtype=np.float32)),
        # keep_empty_features: a column may have no value in one fold, and the next step needs its place.
        ("fill", SimpleImputer(strategy="median", keep_empty_features=True)),
    ]
    if standardised:
        numbers.append(("standardise", StandardScaler()))
    # A missing category is the empty text: a category of its own where training has seen it.
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    parts: list[tuple[str, Any, list[int]]] = [
        ("numbers", Pipeline(numbers), plan.of_kind("number")),
        ("categories", categories, plan.of_kind("category")),
        *((f"date{at}", PlaceInYear(), [at]) for at in plan.of_kind("date")),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)
