"""Why a challenger gives no valid answer: which problem it is most often, and what the requests have in common."""

from collections import Counter

import numpy as np

from modelyard.evaluation.words import quoted
from modelyard.metrics import Rows
from modelyard.rollout.answers import PROBLEMS
from modelyard.rollout.causes.columns import Columns, standing_out
from modelyard.rollout.checks.errors import Failures, failures
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import percent
from modelyard.rollout.observations import Flags

NEARLY_ALL = 0.9
WITH_MESSAGE = ("raises", "refuses_input", "not_loaded", "slow", "memory_leak", "wrong_shape")
SAID = {
    "raises": "the challenger raised",
    "refuses_input": "the challenger refused inputs that the champion takes",
    "not_loaded": "the challenger could not be loaded",
    "slow": "the challenger ran out of time",
    "memory_leak": "the challenger ran out of memory",
    "wrong_shape": "the challenger gave another number of answers, or lists of another length, than the champion",
    "not_finite": "the challenger answered NaN or infinity",
    "wrong_type": "the challenger's answers have another form than the champion's",
    "probabilities_invalid": "the challenger's probabilities are not between 0 and 1, or do not sum to 1",
    "unknown_class": "the challenger answered a class that the champion does not have",
    "class_missing": "the challenger's probabilities lack a class that the champion has",
}


def why_it_fails(look: Look) -> tuple[str, str]:
    """The most frequent problem, or what the rows that have it share."""
    found = [part for part in (failures(look, "pairs"), failures(look, "arms")) if part is not None]
    counted: Counter[int] = Counter()
    for part in found:
        counted.update(_of_requests(part).tolist())
    requests, total = sum(counted.values()), sum(len(part.bad) for part in found)
    problem = PROBLEMS[counted.most_common(1)[0][0]]
    often = f"for {requests:,} of {total:,} requests ({percent(requests / total)})"
    if problem in ("raises", "not_finite", "refuses_input"):
        said = _shared(found, problem, f"{SAID[problem]} {often}")
        if said is not None:
            return said
    example = _example(found, problem)
    return problem, f"{SAID[problem]} {often}{example}"


def _of_requests(part: Failures) -> Rows:
    """The problem of each failed request, which is that of its first bad row."""
    bad = np.flatnonzero(part.rows_bad)
    _, first = np.unique(part.table.of[bad], return_index=True)
    return part.problems[bad[first]]


def _shared(found: list[Failures], problem: str, said: str) -> tuple[str, str] | None:
    """Missing inputs or one category, where nearly all failures have it and few other requests do."""
    failed = np.concatenate([part.bad > 0 for part in found])
    missing = np.concatenate([
        np.bincount(part.table.of[part.table.missing], minlength=len(part.table)) > 0 for part in found
    ])  # fmt: skip
    if _explains(missing, failed):
        return "missing_values", f"{said}: where an input is missing"
    several = np.concatenate([np.bincount(part.table.of, minlength=len(part.table)) > 1 for part in found])
    if _explains(several, failed) and float(failed[several].mean()) >= NEARLY_ALL:
        return problem, f"{said}: where a request has more than one row"  # which hold any category
    of = np.concatenate([
        part.table.of + sum(len(one.table) for one in found[:place]) for place, part in enumerate(found)
    ])  # fmt: skip
    instances = [instance for part in found for instance in part.table.instances]
    best = standing_out(Columns(instances), failed, of=of, text_only=True)
    if best is not None and _explains(best.inside, failed):
        return "category_unseen", f"{said}: where {best.column} = {best.value}"
    return None


def _explains(inside: Flags, failed: Flags) -> bool:
    if not failed.any() or not inside.any() or int(failed.sum()) < 3:
        return False
    return (
        float(inside[failed].mean()) >= NEARLY_ALL
        and float(inside.mean()) <= 0.5
        and float(failed[inside].mean()) >= 0.3
    )


def _example(found: list[Failures], problem: str) -> str:
    for part in found:
        for request in part.table.requests:
            if request.code is not None and problem in WITH_MESSAGE:
                message = f", {quoted(request.message)}" if request.message else ""
                return f"; for example {quoted(request.code)}{message}"
    return ""
