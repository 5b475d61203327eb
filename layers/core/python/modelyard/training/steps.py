"""The steps of a pipeline that are ours: a date, a missing number and a category as columns of numbers.

The rule: each is a table that is looked up, so that it has an exact counterpart in ONNX
(`modelyard.training.converters`). Text has a module of its own (`modelyard.training.text`).
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from modelyard.training.dates import POINTS, place_of

MOST_COLUMNS = 50
"""Columns of a category at most: of one with more values, the rarer share the last."""


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


class IsMissing(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Columns of numbers to as many columns that are 1 where a number is missing and else 0."""

    def fit(self, numbers: NDArray[Any], target: object = None) -> "IsMissing":  # noqa: ARG002 - scikit-learn's form
        """Learn how many columns there are, which the conversion to ONNX asks for."""
        self.width_ = numbers.shape[1]
        return self

    def transform(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Look at every number."""
        return np.isnan(numbers.astype(np.float32)).astype(np.float32)


class Categories(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """One column of categories to a column for each: 1 in the row's own, 0 in the others.

    A missing category is the empty text: a category of its own where training has seen it. An unknown one is like the
    rare ones where there are any, and else like none. (scikit-learn's OneHotEncoder can do the same; skl2onnx 1.20
    converts it to a graph that refuses unknown categories.)
    """

    def __init__(self, most: int = MOST_COLUMNS) -> None:
        self.most = most

    def fit(self, categories: NDArray[Any], target: object = None) -> "Categories":  # noqa: ARG002 - scikit-learn's form
        """Give each category a column; the frequent ones their own."""
        counts = Counter(categories.ravel().tolist())
        frequent = sorted(counts, key=lambda name: (-counts[name], name))
        own = sorted(frequent if len(frequent) <= self.most else frequent[: self.most - 1])
        self.columns_ = {name: at for at, name in enumerate(own)}
        shares = len(own) < len(frequent)
        self.width_ = len(own) + shares
        self.other_ = len(own)
        # Without rare ones the last row is all zero.
        self.points_ = np.eye(self.other_ + 1, self.width_, dtype=np.float32)
        return self

    def transform(self, categories: NDArray[Any]) -> NDArray[np.float32]:
        """Look every category up."""
        answers: NDArray[np.float32] = self.points_[
            [self.columns_.get(name, self.other_) for name in categories.ravel().tolist()]
        ]
        return answers
