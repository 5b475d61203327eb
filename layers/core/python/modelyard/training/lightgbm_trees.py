"""LightGBM: how it is loaded where its OpenMP library is not, and how it trains the same model everywhere.

The rule: LightGBM is a candidate like any other, and where it cannot be loaded it is a line of the leaderboard with the
reason, never a failed run.

Its wheel leaves OpenMP to the system, as ``libgomp.so.1``, and AWS Lambda's Python runtimes have none. scikit-learn's
wheel brings the same library under a name of its own (``libgomp-<digest>.so.1.0.0``), by which the loader does not find
it. So that file is loaded once more under the name that is asked for: a copy whose one mention of its own name is
overwritten, which changes no other byte and no place in the file. It works wherever a layer is unpacked, and costs
250 KB in the temporary folder for a moment.
"""

import ctypes
import importlib
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight

_MISSING = re.compile(r"(?:^|/|\s)(libgomp\.so[.0-9]*): ")
"""What the loader says about a library that it cannot load."""
_BUNDLED = "libgomp-*.so*"

REPEATABLE = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1}
"""One thread and one order of sums, so that equal rows give equal trees; and no word on the terminal."""


def load() -> Any:
    """The package `lightgbm`.

    Raises:
        ImportError: When it is not installed.
        OSError: When its library cannot be loaded.
    """
    try:
        return importlib.import_module("lightgbm")
    except OSError as error:
        missing = _MISSING.search(str(error))
        if missing is None:
            raise
        _load_openmp_as(missing[1], error)
        return importlib.import_module("lightgbm")


def _load_openmp_as(name: str, error: OSError) -> None:
    """Load scikit-learn's OpenMP library under the name that LightGBM asks for."""
    folder = Path(sklearn.__file__).parents[1] / "scikit_learn.libs"
    bundled = next(iter(sorted(folder.glob(_BUNDLED))), None)
    if bundled is None:
        raise error
    own, wanted = bundled.name.encode() + b"\0", name.encode() + b"\0"
    content = bundled.read_bytes()
    if content.count(own) != 1 or len(wanted) > len(own):
        raise error
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / name
        copy.write_bytes(content.replace(own, wanted.ljust(len(own), b"\0")))
        ctypes.CDLL(str(copy), mode=ctypes.RTLD_GLOBAL)  # mapped by now: the file itself may go


class _Trees(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """What both tasks share: LightGBM's own training loop, which can go on where it stopped.

    LightGBM's classes for scikit-learn begin again with other random numbers, so a model that grew would not be the
    model of that size.
    """

    def __init__(
        self,
        n_estimators: int = 100,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        max_depth: int = -1,
        min_child_samples: int = 20,
        min_child_weight: float = 1e-3,
        min_split_gain: float = 0.0,
        subsample: float = 1.0,
        subsample_freq: int = 0,
        colsample_bytree: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 0.0,
        random_state: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.min_child_weight = min_child_weight
        self.min_split_gain = min_split_gain
        self.subsample = subsample
        self.subsample_freq = subsample_freq
        self.colsample_bytree = colsample_bytree
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.random_state = random_state
        self.warm_start = warm_start

    def _train(self, matrix: NDArray[Any], target: NDArray[Any], objective: dict[str, Any], weight: Any = None) -> None:
        lightgbm = load()
        own = {"n_estimators", "warm_start", "class_weight", "random_state"}
        settings = {name: value for name, value in self.get_params(deep=False).items() if name not in own}
        settings |= {"seed": self.random_state, **objective, **REPEATABLE}
        try:
            if not (self.warm_start and hasattr(self, "booster_")):
                rows = lightgbm.Dataset(matrix, target, weight=weight, params=settings, free_raw_data=False)
                self.booster_ = lightgbm.Booster(settings, rows)
                self.rounds_ = 0
            while self.rounds_ < self.n_estimators:  # counted here: a round that finds no split leaves no tree
                self.booster_.update()
                self.rounds_ += 1
        except lightgbm.basic.LightGBMError as error:  # a setting out of its range
            raise ValueError(str(error)) from error

    def _answers(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        answers: NDArray[np.float64] = self.booster_.predict(matrix, num_threads=1)
        return answers


class LightGBMClassifier(ClassifierMixin, _Trees):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees for classes. The settings are LightGBM's own."""

    def __init__(self, *, class_weight: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.class_weight = class_weight

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted([*_Trees._get_param_names(), "class_weight"])  # noqa: SLF001 - scikit-learn's own form

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "LightGBMClassifier":
        """Train, or train on."""
        self.classes_, numbers = np.unique(target, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"all {len(target)} rows are of class {self.classes_[0]!r}")
        two = len(self.classes_) == 2
        objective = {"objective": "binary"} if two else {"objective": "multiclass", "num_class": len(self.classes_)}
        weight = None if self.class_weight is None else compute_sample_weight(self.class_weight, target)
        self._train(matrix, numbers, objective, weight)
        return self

    def predict_proba(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Answer with a probability for each class."""
        answers = self._answers(matrix)
        return np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers

    def predict(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Answer with the most probable class."""
        classes: NDArray[Any] = self.classes_[self.predict_proba(matrix).argmax(axis=1)]
        return classes


class LightGBMRegressor(RegressorMixin, _Trees):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees for numbers. The settings are LightGBM's own."""

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "LightGBMRegressor":
        """Train, or train on."""
        self._train(matrix, target, {"objective": "regression"})
        return self

    def predict(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Answer."""
        return self._answers(matrix)


def classifier(seed: int) -> LightGBMClassifier:
    """A classifier that is not fitted yet.

    Raises:
        ImportError: When LightGBM is not installed.
        OSError: When its library cannot be loaded.
    """
    load()
    return LightGBMClassifier(random_state=seed)


def regressor(seed: int) -> LightGBMRegressor:
    """A regressor that is not fitted yet.

    Raises:
        ImportError: When LightGBM is not installed.
        OSError: When its library cannot be loaded.
    """
    load()
    return LightGBMRegressor(random_state=seed)
