"""Retraining, validate: do its rows fit the plan?"""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.validating import validate_upload
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("validate", validate_upload, WORKBENCH, event)
