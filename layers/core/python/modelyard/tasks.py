"""What fits which task: candidates with the settings that can be searched, and metrics.

Here and not in the trainer, because a misspelt setting is to be found when the spec is read, where scikit-learn is not
installed, and not by a run that fails an hour later. Tests compare with scikit-learn and with `modelyard.metrics`.
"""

CLASS_METRICS = ("log_loss", "accuracy", "balanced_accuracy", "f1_macro")
METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("rmse", "mae", "r2"),
    "binary": CLASS_METRICS,
    "multiclass": CLASS_METRICS,
}
"""Metrics of a task; the first is the one to start with."""

CANDIDATES: dict[str, tuple[str, ...]] = {
    "regression": ("linear_regression", "random_forest", "gradient_boosting"),
    "binary": ("logistic_regression", "random_forest", "gradient_boosting"),
    "multiclass": ("logistic_regression", "random_forest", "gradient_boosting"),
}
"""Kinds of candidates of a task, the simplest first."""

_TREE = {"max_depth", "max_features", "max_leaf_nodes", "min_samples_leaf"}

SETTINGS: dict[str, frozenset[str]] = {
    "logistic_regression": frozenset({"C", "class_weight", "fit_intercept", "l1_ratio", "max_iter", "solver", "tol"}),
    "linear_regression": frozenset({"fit_intercept", "positive", "tol"}),
    "random_forest": frozenset(
        {"bootstrap", "ccp_alpha", "class_weight", "criterion", "max_samples", "min_impurity_decrease"}
        | {"min_samples_split", "min_weight_fraction_leaf", "n_estimators"}
        | _TREE
    ),
    "gradient_boosting": frozenset(
        {"class_weight", "early_stopping", "l2_regularization", "learning_rate", "loss", "max_bins", "max_iter"}
        | {"n_iter_no_change", "quantile", "tol", "validation_fraction"}
        | _TREE
    ),
}
"""scikit-learn's names of what can be searched. Left out is what changes nothing about the model (``n_jobs``), and what
takes more than a number or a word (``monotonic_cst``)."""
