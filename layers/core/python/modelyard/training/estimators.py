"""Estimators whose settings are not scikit-learn's own, under scikit-learn's interface.

The rule: each becomes, once it is fitted, an estimator of scikit-learn that answers the same (`as_scikit_learn`), so
the conversion to ONNX needs to know nothing about them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor


class LinearModel(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A linear regression, with as much shrinkage as is asked for.

    Args:
        alpha: How much: 0 is least squares.
        l1_ratio: Of which kind: 0 is ridge regression, 1 the lasso, between them the elastic net.
        fit_intercept: Whether a constant is added.
        positive: Whether all coefficients must be positive.
        tol: When the solver stops.
    """

    def __init__(
        self,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float | None = None,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "LinearModel":
        """Fit the model that the settings name."""
        shared: dict[str, Any] = {"fit_intercept": self.fit_intercept, "positive": self.positive}
        if self.tol is not None:
            shared["tol"] = self.tol
        chosen: Any
        if self.alpha == 0:
            chosen = LinearRegression(**shared)
        elif self.l1_ratio == 0:
            # Ridge adds up squared errors where the elastic net takes their mean: one alpha for both.
            chosen = Ridge(alpha=self.alpha * len(target), **shared)
        else:
            chosen = ElasticNet(alpha=self.alpha, l1_ratio=self.l1_ratio, max_iter=10_000, **shared)
        # The lasso's alpha is in the target's unit; in a unit of its spread, one alpha does for every target.
        spread = float(np.std(target)) or 1.0
        self.model_ = chosen.fit(matrix.astype(np.float64), target / spread)
        self.model_.coef_ = self.model_.coef_ * spread
        self.model_.intercept_ = self.model_.intercept_ * spread
        return self

    def predict(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Answer."""
        answers: NDArray[np.float64] = self.model_.predict(matrix.astype(np.float64))
        return answers

    def as_scikit_learn(self) -> Any:
        """The fitted model of scikit-learn."""
        return self.model_


class _Shaped:
    """A network whose hidden layers are given as two numbers, which a grid can hold."""

    width: int
    layers: int
    hidden_layer_sizes: tuple[int, ...]

    def shape(self) -> None:
        """Turn the two numbers into scikit-learn's tuple."""
        self.hidden_layer_sizes = (self.width,) * self.layers


class ClassifyingNetwork(_Shaped, MLPClassifier):  # type: ignore[misc]  # scikit-learn ships no types
    """A network for classes with ``layers`` hidden layers of ``width`` units each."""

    def __init__(
        self,
        width: int = 32,
        layers: int = 1,
        activation: str = "relu",
        alpha: float = 1e-3,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        tol: float = 1e-4,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            activation=activation,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
        )
        self.width = width
        self.layers = layers

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "ClassifyingNetwork":
        """Fit the network."""
        self.shape()
        super().fit(matrix.astype(np.float64), target)
        return self

    def predict_proba(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Answer with a probability for each class."""
        answers: NDArray[np.float64] = super().predict_proba(matrix.astype(np.float64))
        return answers

    def as_scikit_learn(self) -> Any:
        """The same network as scikit-learn's own class."""
        return _plain(self, MLPClassifier)


class RegressingNetwork(_Shaped, MLPRegressor):  # type: ignore[misc]  # scikit-learn ships no types
    """A network for numbers, whatever their unit: it learns them standardised.

    A network that has to answer with 250,000 spends its training on finding that number. The unit goes back into the
    last layer, which is linear, so nothing follows the network.
    """

    def __init__(
        self,
        width: int = 32,
        layers: int = 1,
        activation: str = "relu",
        alpha: float = 1e-3,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        tol: float = 1e-4,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            activation=activation,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
        )
        self.width = width
        self.layers = layers

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "RegressingNetwork":
        """Fit the network to the standardised target and give its last layer the target's unit."""
        self.shape()
        centre, spread = float(np.mean(target)), float(np.std(target)) or 1.0
        super().fit(matrix.astype(np.float64), (target - centre) / spread)
        self.coefs_[-1] = self.coefs_[-1] * spread
        self.intercepts_[-1] = self.intercepts_[-1] * spread + centre
        return self

    def predict(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Answer."""
        answers: NDArray[np.float64] = super().predict(matrix.astype(np.float64))
        return answers

    def as_scikit_learn(self) -> Any:
        """The same network as scikit-learn's own class."""
        return _plain(self, MLPRegressor)


def classifying_network(seed: int) -> ClassifyingNetwork:
    """A network for classes that is not fitted yet."""
    return ClassifyingNetwork(random_state=seed)


def regressing_network(seed: int) -> RegressingNetwork:
    """A network for numbers that is not fitted yet."""
    return RegressingNetwork(random_state=seed)


def _plain(fitted: Any, kind: type) -> Any:
    plain = kind()
    plain.__dict__.update(fitted.__dict__)
    return plain
