"""Retraining, collect: what a training on SageMaker wrote, to where a function would have left it."""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.training_step import collect_output
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("collect", collect_output, WORKBENCH, event)
