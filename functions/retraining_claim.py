"""Retraining, claim: is this event new, and is it ours to work on?"""

import os
from typing import Any

from modelyard.aws.workbench import open_workbench
from modelyard.retraining.claiming import claim_trigger
from modelyard.retraining.workbench import run_step

WORKBENCH = open_workbench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("claim", claim_trigger, WORKBENCH, event)
