"""Rollout, ask: a person decides."""

import os
from typing import Any

from modelyard.aws.rollout_bench import open_rollout_bench
from modelyard.retraining.workbench import run_step
from modelyard.rollout.steps import ask_person

BENCH = open_rollout_bench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("ask", ask_person, BENCH, event, workflow="rollout")
