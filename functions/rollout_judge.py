"""Rollout, judge: what does the traffic so far say?."""

import os
from typing import Any

from modelyard.aws.rollout_bench import open_rollout_bench
from modelyard.retraining.workbench import run_step
from modelyard.rollout.judging_step import judge_rollout

BENCH = open_rollout_bench(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return run_step("judge", judge_rollout, BENCH, event, workflow="rollout")
