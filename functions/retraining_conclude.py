"""Retraining, conclude: why there is no new live version."""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.concluding import conclude_run
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("conclude", conclude_run, WORKBENCH, event)
