"""Retraining, turn: may this run train now?"""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.turn_steps import take_turn
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("turn", take_turn, WORKBENCH, event)
