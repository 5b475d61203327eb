"""Is the challenger the model that was trained, and is it better than the champion? The gate and what it looks at.

The rule: what is measured is what would be served, the ONNX file's answers through a predictor, on rows that no version
was trained on, the same for challenger and champion. What decides (`gate`) is a pure function of what was measured. All
of it runs on the serving layer (numpy, no scikit-learn), because the training layer has no onnxruntime; so the training
step hands over the framework's own answers.

::

    rows.py         the frozen rows; predictions in the form of a response → arrays
    parity.py       the ONNX file's answers beside the framework's                  → Parity
    intervals.py    how far the improvement may be from what was measured           → Interval
    slices.py       the metric on parts of the rows                                 → Slice
    latency.py, importance.py, measures.py    what else a report shows
    gate.py         all of that → checks, each with a sentence → Decision
    evaluate.py     the whole                                                       → Report
    ablation.py     what one file changed                                           → Ablation
"""

from modelyard.evaluation.ablation import Ablation, ablate
from modelyard.evaluation.evaluate import Report, evaluate
from modelyard.evaluation.gate import Check, Decision, decide
from modelyard.evaluation.intervals import Interval, improvement_interval
from modelyard.evaluation.parity import Parity, compare
from modelyard.evaluation.rows import EvaluationSet, Predict, Sample

__all__ = [
    "Ablation",
    "Check",
    "Decision",
    "EvaluationSet",
    "Interval",
    "Parity",
    "Predict",
    "Report",
    "Sample",
    "ablate",
    "compare",
    "decide",
    "evaluate",
    "improvement_interval",
]
