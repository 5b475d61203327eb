"""Rollout, promote: the challenger becomes the champion."""

import os
from typing import Any

from modelyard.aws.rollout_bench import open_rollout_bench
from modelyard.retraining.workbench import run_step
from modelyard.rollout.steps import promote_challenger

BENCH = open_rollout_bench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("promote", promote_challenger, BENCH, event, workflow="rollout")
