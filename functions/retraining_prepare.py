"""Retraining, prepare: which rows are learnt from, and which judge."""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.preparing import prepare_rows
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("prepare", prepare_rows, WORKBENCH, event)
