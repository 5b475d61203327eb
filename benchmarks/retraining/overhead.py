"""What a retraining run takes beside the fit: the workflow's time minus the training's own, state by state.

Runs of ``seattle_weather`` on the local AWS that ``make up`` started, one after the other, each told to train again
though nothing is new. The fit is what the training step measured around its own work, so its import of scikit-learn,
its functions' starts and the copies of files count as overhead. The local AWS starts a process for most calls, where
Lambda keeps a function warm: on AWS the same states cost what the second table says, on paper.

    python benchmarks/retraining/overhead.py [--quick] [--json]
"""

import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.cli.session import Session  # noqa: E402
from modelyard.cli.training import SHOWN, workflow_of  # noqa: E402
from modelyard.retraining.costs import month_on_paper  # noqa: E402
from modelyard.spec import training_plan  # noqa: E402
from modelyard.training.plan import decode_plan  # noqa: E402

MODEL = "seattle_weather"
POLL_S = 0.25
LONGEST_S = 300


def measure(quick: bool) -> Result:
    """Run it a few times."""
    session = Session("local", start=PROJECT)
    rounds = [one_run(session) for _ in range(1 if quick else 7)]
    names = list(dict.fromkeys(name for found in rounds for name in found["states"]))
    rows: list[list[Any]] = [
        [name, *_spread([found["states"][name] for found in rounds if name in found["states"]])] for name in names
    ]
    overheads = [found["total"] - found["fit"] for found in rounds]
    rows += [
        ["**whole run**", *_spread([found["total"] for found in rounds])],
        ["fit, as the step measured it", *_spread([found["fit"] for found in rounds])],
        ["**overhead: the run without the fit**", *_spread(overheads)],
    ]
    local = table(["state", "median, s", "least, s"], rows)
    fit = statistics.median(found["fit"] for found in rounds)
    paper, costs = on_paper(session, fit)
    report = (
        f"{len(rounds)} runs on the local AWS, one after the other.\n\n{local}\n\n"
        "A month of daily runs on AWS, on paper (prices and usual durations: `modelyard/retraining/costs.py`):"
        f"\n\n{paper}"
    )
    figures = {
        "overhead_s": statistics.median(overheads),
        "overhead_least_s": min(overheads),
        "fit_s": fit,
        "total_s": statistics.median(found["total"] for found in rounds),
        "month_usd": costs,
    }
    return Result(report=report, figures=figures)


def one_run(session: Session) -> dict[str, Any]:
    """Start a run, wait for its end, and read its history."""
    workflow, run_id = workflow_of(session, MODEL), str(uuid.uuid4())
    workflow.start(run_id, {"trigger": "manual", "by": "benchmark", "reason": "overhead", "again": True})
    began = time.monotonic()
    while workflow.status(run_id) == "RUNNING":
        if time.monotonic() - began > LONGEST_S:
            raise SystemExit(f"run {run_id} did not end within {LONGEST_S} s")
        time.sleep(POLL_S)
    states = workflow.states(run_id)
    ended = max(state.left or state.entered for state in states)
    fit = (workflow.input_of(run_id, "Evaluate against the champion") or {}).get("training", {}).get("seconds")
    if fit is None:
        raise SystemExit(f"run {run_id} trained nothing: modelyard runs {MODEL} --run {run_id}")
    timed = {state.name: (state.left or state.entered) - state.entered for state in states if state.kind in SHOWN}
    return {"states": timed, "total": ended - states[0].entered, "fit": float(fit)}


def on_paper(session: Session, fit: float) -> tuple[str, float]:
    """What daily runs cost in a month, and the sum."""
    plan = decode_plan(training_plan(session.model(MODEL).spec))
    month = month_on_paper(plan, seconds=fit)
    rows = [
        ["state transitions", f"{month.transitions:,}", f"{month.transitions_usd:.4f}"],
        ["functions beside the training, GB seconds", f"{month.gb_seconds:,.0f}", f"{month.functions_usd:.4f}"],
        ["training, hours", f"{month.training_hours:.3f}", f"{month.training_usd:.4f}"],
        ["**together**", "", f"**{month.usd:.4f}**"],
    ]
    return table([f"{month.runs} runs a month", "count", "USD"], rows), month.usd


def _spread(values: list[float]) -> list[str]:
    return [f"{statistics.median(values):.2f}", f"{min(values):.2f}"]


if __name__ == "__main__":
    run(__doc__.splitlines()[0], measure)
