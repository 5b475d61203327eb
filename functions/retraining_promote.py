"""Retraining, promote: the version is live."""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.registering import promote_challenger
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("promote", promote_challenger, WORKBENCH, event)
