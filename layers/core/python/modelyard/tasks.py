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

_ANY_TASK = ("random_forest", "gradient_boosting", "lightgbm", "neural_network")

CANDIDATES: dict[str, tuple[str, ...]] = {
    "regression": ("linear_regression", *_ANY_TASK),
    "binary": ("logistic_regression", *_ANY_TASK),
    "multiclass": ("logistic_regression", *_ANY_TASK),
}
"""Kinds of candidates of a task, the simplest first."""

_TREE = {"max_depth", "max_features", "max_leaf_nodes", "min_samples_leaf"}

SETTINGS: dict[str, frozenset[str]] = {
    "logistic_regression": frozenset({"C", "class_weight", "fit_intercept", "l1_ratio", "max_iter", "solver", "tol"}),
    "linear_regression": frozenset({"alpha", "fit_intercept", "l1_ratio", "positive", "tol"}),
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
    "lightgbm": frozenset(
        {"class_weight", "colsample_bytree", "learning_rate", "max_depth", "min_child_samples", "min_child_weight"}
        | {"min_split_gain", "n_estimators", "num_leaves", "reg_alpha", "reg_lambda", "subsample", "subsample_freq"}
    ),
    "neural_network": frozenset(
        {"activation", "alpha", "batch_size", "learning_rate_init", "max_iter", "tol", "width", "layers"}
    ),
}
"""The libraries' own names of what can be searched. Ours are ``alpha`` and ``l1_ratio`` of a linear regression (0 is
least squares; with ``l1_ratio`` 0 ridge regression), and ``width`` and ``layers`` of a network. Left out is what
changes nothing about the model (``n_jobs``), and what takes more than a number or a word (``monotonic_cst``)."""
