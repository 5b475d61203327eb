"""What growing, racing and shared columns save in a search, and whether another setting wins because of them.

The same search five times: as it is, without the race, without growth (each number of trees is fitted from scratch),
without columns that are kept, and without any of the three. Every setting is the built-in one. The winner's own
cross-validated mean is compared with that of the search without any of the three: what was saved must not have cost a
better model.

    python benchmarks/training/savings.py [--quick] [--json]
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import tasks
from measuring import script
from measuring.table import table

from modelyard.metrics import METRICS
from modelyard.training import racing, search, spaces
from modelyard.training.leaderboard import named, winner
from modelyard.training.plan import decode_plan
from modelyard.training.table import read_table

NAMES, QUICK = ("breast_cancer", "diabetes", "weather", "anes96"), ("diabetes",)
ALLOWED = 1.01


def main() -> None:
    script.run("What the search saves, and what it costs.", measure)


@contextlib.contextmanager
def without(*parts: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if "race" in parts:
            stack.enter_context(mock.patch.object(racing.Race, "lost", return_value=None))
        if "growth" in parts:
            paths_of = spaces.paths_of

            def apart(plan: object, rows: int) -> list[list[spaces.Path]]:
                return [
                    [spaces.Path(path.kind, path.at(length)) for path in queue for length in path.stages]
                    for queue in paths_of(plan, rows)  # type: ignore[arg-type]
                ]

            stack.enter_context(mock.patch.object(search, "paths_of", apart))
        if "columns" in parts:
            stack.enter_context(mock.patch.object(search, "MOST_KEPT_BYTES", -1))
        yield


ALL = ("race", "growth", "columns")
WAYS: dict[str, tuple[str, ...]] = {
    "none of them": ALL,
    "as it is": (),
    "without the race": ("race",),
    "without growth": ("growth",),
    "without kept columns": ("columns",),
}


def measure(quick: bool) -> script.Result:
    figures: dict[str, float] = {}
    rows, claims = [], []
    for name in QUICK if quick else NAMES:
        task = tasks.TASKS[name]()
        document = task.plan(36_000)
        if quick:
            document["training"] |= {"folds": 2, "candidates": [{"kind": "lightgbm"}]}
        plan = decode_plan(document)
        training = read_table(plan, [task.csv(range(len(task.rows) - 1))]).table
        if training is None:
            raise SystemExit(f"{name}: the rows are refused")
        reference, slowest = 0.0, 0.0
        for way, parts in WAYS.items():
            began = time.process_time()
            with without(*parts):
                found = search.search(plan, training)
            seconds = time.process_time() - began
            best = winner(found.leaderboard)
            if best.mean is None:
                raise SystemExit(f"{name}: nothing was fitted")
            if way == "none of them":
                reference, slowest = best.mean, seconds
            lower = METRICS[task.metric].lower_is_better
            ratio = best.mean / reference if lower else reference / best.mean
            key = f"{name}.{way.replace(' ', '_')}"
            figures |= {f"{key}.seconds": round(seconds, 2), f"{key}.ratio": round(ratio, 5)}
            rows.append((name, way, f"{seconds:.1f}", f"{seconds / slowest:.2f}", f"{ratio:.4f}", named(best)))
            print(*rows[-1], file=sys.stderr)
            if way == "as it is":
                claims.append(script.Claim(f"{name}: the winner's mean beside that of the full search", ratio, ALLOWED))
    report = table(("task", "search", "processor s", "x", "winner's mean, x", "winner"), rows)
    return script.Result(report, figures, claims)


if __name__ == "__main__":
    main()
