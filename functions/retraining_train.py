"""Retraining, train: fit every candidate and convert the best to ONNX."""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.training_step import train_candidates
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("train", train_candidates, WORKBENCH, event)
