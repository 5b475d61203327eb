"""The kinds of estimators that a model may be trained with: for which tasks, and which settings each has.

Here and not in the trainer, because a misspelt setting is found when the spec is read, where scikit-learn is not
installed. A test compares the settings with scikit-learn's own.
"""

from typing import Literal

CandidateKind = Literal["logistic_regression", "linear_regression", "random_forest", "gradient_boosting"]

_TREES = frozenset(
    {"ccp_alpha", "criterion", "max_depth", "max_features", "max_leaf_nodes", "min_impurity_decrease",
     "min_samples_leaf", "min_samples_split", "min_weight_fraction_leaf", "monotonic_cst"}
)  # fmt: skip
_FOREST = _TREES | {"bootstrap", "max_samples", "n_estimators", "n_jobs", "oob_score", "verbose", "warm_start"}

SETTINGS: dict[CandidateKind, dict[bool, frozenset[str]]] = {}
"""Names of a kind's settings, for classes (True) and for numbers (False); a task that is missing does not fit."""
