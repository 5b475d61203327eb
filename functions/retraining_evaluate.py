"""Retraining, evaluate: is it the model that was trained, and is it better than the champion?"""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.evaluating import evaluate_challenger
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("evaluate", evaluate_challenger, WORKBENCH, event)
