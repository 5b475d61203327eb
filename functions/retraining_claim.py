"""Retraining, claim: is this upload new, and is it ours to work on?"""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.steps import claim_upload
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("claim", claim_upload, WORKBENCH, event)
