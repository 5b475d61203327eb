"""From a plan and a candidate to a scikit-learn pipeline that takes the columns as they are.

The rule: every preprocessing step is inside the pipeline, is fitted with it, and has an exact counterpart in ONNX. So
the endpoint needs no code of its own, and cross-validation never sees statistics of the rows it scores.

Numbers are rounded to float32 first, because that is what the endpoint receives. What follows depends on the candidate
(`Preparation`): linear models and networks get numbers filled in and standardised; forests get them filled in, because
a standardised number is rounded twice, which can move a row across a threshold; boosted trees get them as they are,
because they learn where missing values belong. Where numbers are filled in, a column says which were missing.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from modelyard.errors import UsageError
from modelyard.tasks import SETTINGS
from modelyard.training import lightgbm_trees
from modelyard.training.estimators import LinearModel, classifying_network, regressing_network
from modelyard.training.plan import Plan, Setting
from modelyard.training.steps import Categories, IsMissing, PlaceInYear
from modelyard.training.table import Table
from modelyard.training.text import Words

Preparation = Literal["standardised", "filled", "as they are"]

WORDS, WORDS_FOR_TREES = 1_000, 200
"""Most words of a text column: weighed for linear models and networks; counted for trees, which search every column
at every split."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of candidate is built.

    Attributes:
        classifier: From a seed to an estimator; None where it does not fit the task.
        regressor: The same for numbers.
        preparation: What is done to the columns.
        along: The setting that counts its trees. A shorter ensemble is the beginning of a longer one, so one fit grows
            through every length that is tried (`grown`).
    """

    classifier: Callable[[int], Any] | None
    regressor: Callable[[int], Any] | None
    preparation: Preparation
    along: str | None = None


KINDS: dict[str, Kind] = {
    "logistic_regression": Kind(lambda _: LogisticRegression(max_iter=1000), None, "standardised"),
    "linear_regression": Kind(None, lambda _: LinearModel(), "standardised"),
    "random_forest": Kind(
        lambda seed: RandomForestClassifier(random_state=seed),
        lambda seed: RandomForestRegressor(random_state=seed),
        "filled",
        along="n_estimators",
    ),
    # early_stopping: left to scikit-learn, it begins at 10,000 rows, and fails where a class has one of them.
    "gradient_boosting": Kind(
        lambda seed: HistGradientBoostingClassifier(random_state=seed, early_stopping=False),
        lambda seed: HistGradientBoostingRegressor(random_state=seed, early_stopping=False),
        "as they are",
        along="max_iter",
    ),
    "lightgbm": Kind(lightgbm_trees.classifier, lightgbm_trees.regressor, "as they are", along="n_estimators"),
    "neural_network": Kind(classifying_network, regressing_network, "standardised"),
}


def build(plan: Plan, kind: str, settings: dict[str, Setting], *, gaps: Sequence[int] = ()) -> Pipeline:
    """A pipeline that is not fitted yet.

    Args:
        plan: Names the features and their kinds, the task and the seed.
        kind: Which estimator: the kind of a candidate.
        settings: Its settings; the names are the library's.
        gaps: From `gaps_of`: features that say when their number is missing.

    Raises:
        UsageError: When the kind does not fit the task, or has no such setting.
        ImportError: When the estimator's library is not there.
        OSError: When it cannot be loaded.
    """
    check(plan, kind, settings)
    return Pipeline(
        [
            ("features", features(plan, KINDS[kind].preparation, gaps=gaps)),
            ("estimator", estimator(plan, kind, settings)),
        ]
    )


def check(plan: Plan, kind: str, settings: dict[str, Setting]) -> None:
    """Check that a kind fits the plan's task and has these settings.

    Raises:
        UsageError: When it does not.
    """
    entry = KINDS[kind]
    if (entry.classifier if plan.classification else entry.regressor) is None:
        raise UsageError(
            f"candidate {kind!r} does not fit task {plan.task!r}",
            code="invalid_plan",
            field="training.candidates",
            next_step="Choose another candidate in model.toml.",
        )
    known = sorted(SETTINGS[kind])
    for name in settings:
        if name not in known:
            raise UsageError(
                f"candidate {kind!r} has no setting {name!r}; it has {', '.join(known)}",
                code="invalid_plan",
                field="training.candidates",
                next_step="Correct the candidate's grid in model.toml.",
            )


def estimator(plan: Plan, kind: str, settings: dict[str, Setting]) -> Any:
    """A candidate's last step, not fitted yet."""
    entry = KINDS[kind]
    make = entry.classifier if plan.classification else entry.regressor
    assert make is not None, "checked before"  # noqa: S101 - a promise to the reader and to mypy
    made = make(plan.training.seed)
    unknown = set(settings) - set(made.get_params(deep=False))
    if unknown:  # such as the class_weight of a regression
        raise UsageError(
            f"candidate {kind!r} has no setting {sorted(unknown)[0]!r} for task {plan.task!r}",
            code="invalid_plan",
            field="training.candidates",
            next_step="Correct the candidate's grid in model.toml.",
        )
    return made.set_params(**settings)


def grown(model: Any, kind: str, length: int, matrix: NDArray[Any], target: NDArray[Any]) -> Any:
    """Fit an ensemble of a length, or let a fitted one grow to it: the same trees either way.

    It holds for forests (each tree has its own random numbers), for gradient boosting without early stopping, and for
    LightGBM, whose training goes on where it stood. It does not hold for linear models along their penalty nor for
    networks along their iterations: those end elsewhere when they begin elsewhere, so each is fitted from scratch.
    """
    return fit(model.set_params(warm_start=True, **{str(KINDS[kind].along): length}), matrix, target)


def baseline(plan: Plan) -> Any:
    """The answer without learning: the classes' shares, or the mean."""
    return DummyClassifier(strategy="prior") if plan.classification else DummyRegressor(strategy="mean")


def gaps_of(plan: Plan, training: Table) -> tuple[int, ...]:
    """Positions of the numbers that are missing somewhere in the training rows."""
    columns = list(training.columns.values())
    return tuple(at for at in plan.of_kind("number") if np.isnan(columns[at].astype(np.float64)).any())


def features(plan: Plan, preparation: Preparation, *, gaps: Sequence[int] = ()) -> ColumnTransformer:
    """What is done to the columns before the estimator sees them, not fitted yet."""
    numbers: list[tuple[str, Any]] = [("round", CastTransformer(dtype=np.float32))]
    if preparation != "as they are":
        # keep_empty_features: a column may have no value in one fold, and the next step needs its place.
        numbers.append(("fill", SimpleImputer(strategy="median", keep_empty_features=True)))
    if preparation == "standardised":
        numbers.append(("standardise", StandardScaler()))
    weighed = preparation == "standardised"
    parts: list[tuple[str, Any, list[int]]] = [
        ("numbers", Pipeline(numbers), plan.of_kind("number")),
        ("missing", IsMissing(), [] if preparation == "as they are" else list(gaps)),
        *((f"category{at}", Categories(), [at]) for at in plan.of_kind("category")),
        *((f"date{at}", PlaceInYear(), [at]) for at in plan.of_kind("date")),
        *(
            (f"text{at}", Words(size=WORDS if weighed else WORDS_FOR_TREES, weighed=weighed), [at])
            for at in plan.of_kind("text")
        ),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)


def fit(model: Any, matrix: NDArray[Any], target: NDArray[Any]) -> Any:
    """Fit quietly, on one thread.

    Quietly, because a solver that stops at its limit of iterations is judged by its score like any other. On one
    thread, because sums then come out the same on every machine, and because OpenMP's threads spin while they wait for
    a core of which a function has a share only.
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A forest that grows warns of weights from other rows; it grows on the rows that it began with.
        warnings.filterwarnings("ignore", message='class_weight presets "balanced"', category=UserWarning)
        return model.fit(matrix, target)
