"""What a person writes who knows scikit-learn and LightGBM: their pipelines, their grids, their cross-validation.

No line of Modelyard is used here. Each library gets its usual models with a grid over the settings that matter, five
folds, the metric of the task, and both cores; the best of its cross-validation answers. Where a model needs it, numbers
are standardised and categories one-hot; a date becomes its place in the year, as a sine and a cosine.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, TimeSeriesSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

SCORING = {
    "log_loss": "neg_log_loss",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "rmse": "neg_root_mean_squared_error",
}


def matrix_of(columns: dict[str, Sequence[str]], kinds: dict[str, str]) -> tuple[NDArray[Any], list[int], list[int]]:
    """Columns of text as objects, with the places of the numbers and of the categories."""
    parts: list[NDArray[Any]] = []
    numbers: list[int] = []
    categories: list[int] = []
    for name, kind in kinds.items():
        if kind == "date":
            days = np.array(columns[name], dtype="datetime64[D]")
            angle = 2 * np.pi * (days - days.astype("datetime64[Y]")).astype(int) / 365.25
            for part in (np.sin(angle), np.cos(angle)):
                numbers.append(len(parts))
                parts.append(part)
        elif kind == "number":
            numbers.append(len(parts))
            parts.append(np.array(columns[name], dtype=float))
        else:
            categories.append(len(parts))
            parts.append(np.array(columns[name], dtype=object))
    matrix = np.empty((len(parts[0]), len(parts)), dtype=object)
    for at, part in enumerate(parts):
        matrix[:, at] = part
    return matrix, numbers, categories


def folds_of(kind: str, *, by_time: bool) -> Any:
    if by_time:
        return TimeSeriesSplit(5)
    return (KFold if kind == "regression" else StratifiedKFold)(5, shuffle=True, random_state=1)


def scikit_learn(
    kind: str, metric: str, numbers: list[int], categories: list[int]
) -> list[tuple[Any, dict[str, list[Any]]]]:
    """Pipelines with their grids. A support vector machine has no probabilities of its own, and takes part without."""
    scaled = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        ]
    )
    plain = ColumnTransformer(
        [
            ("numbers", "passthrough", numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        ]
    )
    boosting = {"learning_rate": [0.03, 0.1], "max_iter": [100, 300], "max_leaf_nodes": [6, 31]}
    if kind == "regression":
        return [
            (make_pipeline(scaled, Ridge()), {"ridge__alpha": [0.01, 0.1, 1, 10, 100]}),
            (make_pipeline(scaled, Lasso(max_iter=5000)), {"lasso__alpha": [0.001, 0.01, 0.1, 1.0, 3.0]}),
            (
                make_pipeline(plain, RandomForestRegressor(300, random_state=1)),
                {"randomforestregressor__max_features": [0.33, 1.0], "randomforestregressor__min_samples_leaf": [1, 5]},
            ),
            (
                make_pipeline(plain, HistGradientBoostingRegressor(random_state=1)),
                {f"histgradientboostingregressor__{name}": values for name, values in boosting.items()},
            ),
        ]
    labels_alone = [(make_pipeline(scaled, SVC()), {"svc__C": [1, 10, 100], "svc__gamma": ["scale", 0.01]})]
    return [
        *(labels_alone if metric != "log_loss" else []),
        (make_pipeline(scaled, LogisticRegression(max_iter=2000)), {"logisticregression__C": [0.01, 0.1, 1, 10, 100]}),
        (
            make_pipeline(plain, RandomForestClassifier(300, random_state=1)),
            {
                "randomforestclassifier__max_features": ["sqrt", 0.5],
                "randomforestclassifier__min_samples_leaf": [1, 3, 5],
            },
        ),
        (
            make_pipeline(scaled, MLPClassifier(max_iter=300, random_state=1)),
            {"mlpclassifier__hidden_layer_sizes": [(32,), (100,)], "mlpclassifier__alpha": [1e-3, 0.1, 1.0]},
        ),
        (
            make_pipeline(plain, HistGradientBoostingClassifier(random_state=1)),
            {f"histgradientboostingclassifier__{name}": values for name, values in boosting.items()},
        ),
    ]


def lightgbm(
    kind: str, metric: str, numbers: list[int], categories: list[int]
) -> list[tuple[Any, dict[str, list[Any]]]]:
    """LightGBM with its grid."""
    del metric  # it has one model for all
    from lightgbm import LGBMClassifier, LGBMRegressor

    plain = ColumnTransformer(
        [
            ("numbers", "passthrough", numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        ]
    )
    model = LGBMRegressor if kind == "regression" else LGBMClassifier
    grid = {
        "learning_rate": [0.03, 0.1],
        "n_estimators": [50, 100, 300],
        "num_leaves": [6, 31],
        "min_child_samples": [5, 20],
    }
    pipeline = make_pipeline(plain, model(random_state=1, n_jobs=1, verbosity=-1))
    return [(pipeline, {f"{model.__name__.lower()}__{name}": values for name, values in grid.items()})]


def tuned(candidates: list[tuple[Any, dict[str, list[Any]]]], matrix: Any, target: Any, metric: str, folds: Any) -> Any:
    """The best of a library by cross-validation, fitted to all rows."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers that stop at their limit, and names of features
        for pipeline, grid in candidates:
            search = GridSearchCV(pipeline, grid, scoring=SCORING[metric], cv=folds, n_jobs=2, error_score="raise")
            found.append(search.fit(matrix, target))
    return max(found, key=lambda search: search.best_score_)
