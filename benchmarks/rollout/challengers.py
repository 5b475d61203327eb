"""Challengers that are bad in one way each, as it happens in practice, with the cause that a verdict should name."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.rollout.sources import KINDS, answers, kind_of, source, trained
from benchmarks.rollout.traffic import Call, Reply, Serve

Make = Callable[[str, int], Serve]


@dataclass(frozen=True)
class Bad:
    """A kind of bad challenger.

    Attributes:
        name: What is wrong, in words.
        cause: The code that a verdict should give.
        sources: Data sets on which it is tried.
        make: From data set and seed to a challenger.
        missing: Share of rows with a missing input.
        labelled: Share of rows that get a label.
        also: Another code that names it as well.
    """

    name: str
    cause: str
    sources: tuple[str, ...]
    make: Make
    missing: float = 0.0
    labelled: float = 0.0
    also: str = ""


CLASSES = ("weather", "breast_cancer", "digits", "fair")
NUMBERS = ("diabetes", "affairs")


@cache
def fine(name: str, seed: int) -> list[Any]:
    """What a harmless challenger answers to every row: retrained on a bootstrap, one of three."""
    seed = 1 + seed % 3
    return answers(trained(name, kind_of(name), seed, seed == 2), source(name).asked)


@cache
def champion(name: str) -> list[Any]:
    """What the champion answers to every row."""
    return answers(trained(name, kind_of(name), 0), source(name).asked)


_UNITS = {
    "weather": ("temp_max", 1.8, 32.0), "diabetes": ("bmi", 20.0, 0.0), "anes96": ("PID", 10.0, 0.0),
}  # fmt: skip
"""The input that comes in another unit than in training: degrees, a scale, tenths, millimetres."""


@cache
def _stale(name: str, seed: int) -> list[Any]:
    """One input in another unit than in training."""
    found, (column, times, plus) = source(name), _UNITS[name.partition(":")[0]]
    asked, place = found.asked.copy(), found.columns.index(column)
    asked[:, place] = asked[:, place] * times + plus
    seed = 1 + seed % 3
    return answers(trained(name, kind_of(name), seed, seed == 2), asked)


@cache
def _unscaled(name: str, seed: int) -> list[Any]:
    """The scaler was lost: raw inputs go into a model that was trained on scaled ones."""
    model = trained(name, kind_of(name), 1 + seed % 3)
    return answers(model[-1], source(name).asked)


@cache
def _columns_mixed(name: str, seed: int) -> list[Any]:
    """The columns came in another order than in training."""
    found = source(name)
    order = np.random.default_rng(seed % 5).permutation(len(found.columns))
    return answers(trained(name, kind_of(name), 0), found.asked[:, order])


@cache
def _shuffled(name: str, seed: int) -> list[Any]:
    """Labels and rows were joined wrongly: it learnt from shuffled targets."""
    matrix, target = source(name).train
    order = np.random.default_rng(seed % 3).permutation(len(target))
    return answers(KINDS[kind_of(name)].make(seed % 3).fit(matrix, target[order]), source(name).asked)


# -- what serves ------------------------------------------------------------------------------------------------------


def answering(found: list[Any]) -> Serve:
    """A challenger that looks its answers up."""
    return lambda call: Reply([found[row] for row in call.rows])


def mapped(change: Callable[[Any, Call, int], Any]) -> Make:
    """A harmless challenger whose every answer is changed: of the answer, the call and the place of the row."""

    def make(name: str, seed: int) -> Serve:
        found = fine(name, seed)
        return lambda call: Reply([change(found[row], call, place) for place, row in enumerate(call.rows)])

    return make


def replied(change: Callable[[Reply, Call], Reply]) -> Make:
    """A harmless challenger whose every reply is changed."""

    def make(name: str, seed: int) -> Serve:
        found = fine(name, seed)
        return lambda call: change(Reply([found[row] for row in call.rows]), call)

    return make


def looked_up(found: Callable[[str, int], list[Any]]) -> Make:
    """A challenger with answers of its own to every row."""
    return lambda name, seed: answering(found(name, seed))


def _with(given: dict[str, float]) -> dict[str, Any]:
    total = sum(given.values())
    given = {name: round(value / total, 6) for name, value in given.items()}
    return {"label": max(given, key=lambda name: given[name]), "probabilities": given}


def _reweighted(answer: dict[str, Any], name: str, factor: float) -> dict[str, Any]:
    given = {one: max(value, 1e-4) for one, value in answer["probabilities"].items()}
    given[name] *= factor
    return _with(given)


def _first(answer: dict[str, Any]) -> str:
    return min(answer["probabilities"])


def _renamed(answer: dict[str, Any], *_: Any) -> Any:
    names = sorted(answer["probabilities"])
    other = dict(zip(names, [*names[1:], names[0]], strict=True))
    given = {other[name]: value for name, value in answer["probabilities"].items()}
    return {"label": other[answer["label"]], "probabilities": given}


def _flattened(answer: dict[str, Any], _: Call, __: int) -> Any:
    return _with({name: math.exp(value) for name, value in answer["probabilities"].items()})


def _without(answer: dict[str, Any], _: Call, __: int) -> Any:
    return _reweighted(answer, sorted(answer["probabilities"])[-1], 1e-6)


def _spread(name: str) -> float:
    return float(np.std(champion(name)))


def numbers(change: Callable[[float, float], float]) -> Make:
    """A harmless regression whose numbers are changed: of the number, and of the spread of the champion's."""

    def make(name: str, seed: int) -> Serve:
        found, spread = fine(name, seed), _spread(name)
        return answering([round(change(value, spread), 6) for value in found])

    return make


def _clipped(name: str, seed: int) -> Serve:
    top = float(np.quantile(champion(name), 0.55))
    return answering([min(value, top) for value in fine(name, seed)])


def _rounded(name: str, seed: int) -> Serve:
    step = 2.2 * _spread(name)
    return answering([round(value / step) * step for value in fine(name, seed)])


def _worse_in(name: str, seed: int) -> Serve:
    """Wrong for one value of one column, which few rows have."""
    found = source(name)
    column = found.slices[0]
    values = [instance[column] for instance in found.instances]
    names, counts = np.unique(np.array(values, dtype=object).astype(str), return_counts=True)
    fitting = [str(one) for one, count in zip(names, counts, strict=True) if 0.04 <= count / len(values) <= 0.3]
    bad = fitting[seed % len(fitting)]
    own, shifted = fine(name, seed), 2.5 * _spread(name) if found.regression else 0.0
    return answering([
        (answer + shifted if found.regression else _renamed(answer))
        if str(value) == bad else answer
        for answer, value in zip(own, values, strict=True)
    ])  # fmt: skip


def _worse(name: str, seed: int) -> Serve:
    """Right answers are made wrong here and there: too few to be seen as disagreement."""
    found, spoilt = source(name), []
    for answer, truth, instance in zip(fine(name, seed), found.truth, found.instances, strict=True):
        luck = zlib.crc32(f"{seed} {instance}".encode()) / 2**32
        if found.regression:
            spoilt.append(answer + (0.42 if luck < 0.5 else -0.42) * _spread(name))
        else:
            spoilt.append(_renamed(answer) if answer["label"] == str(truth) and luck < 0.15 else answer)
    return answering(spoilt)


def _noisy(name: str, seed: int) -> Serve:
    """Dropout was left on: each call answers a little otherwise."""
    own, regression, spread = fine(name, seed), source(name).regression, 0.0
    spread = _spread(name) if regression else 0.0

    def serve(call: Call) -> Reply:
        if regression:
            return Reply([own[row] + float(call.draw.normal(0, 0.3 * spread)) for row in call.rows])
        return Reply([
            _with({one: max(value, 1e-3) * math.exp(call.draw.normal(0, 0.8)) for one, value
                   in own[row]["probabilities"].items()}) for row in call.rows
        ])  # fmt: skip

    return serve


def _drifting(name: str, seed: int) -> Serve:
    """State that leaks from call to call moves the answers further and further."""
    own, regression = fine(name, seed), source(name).regression
    spread = _spread(name) if regression else 0.0

    def serve(call: Call) -> Reply:
        if regression:
            return Reply([own[row] + 0.004 * call.number * spread for row in call.rows])
        return Reply([_reweighted(own[row], _first(own[row]), math.exp(0.012 * call.number)) for row in call.rows])

    return serve


def _previous(name: str, seed: int) -> Serve:
    """A buffer that is filled after it was read: the answer is the one before."""
    own = fine(name, seed)

    def serve(call: Call) -> Reply:
        found = []
        for row in call.rows:
            found.append(call.state.get("last", own[row]))
            call.state["last"] = own[row]
        return Reply(found)

    return serve


def _sorted(name: str, seed: int) -> Serve:
    """A join within the batch lost the order of its rows."""
    own = fine(name, seed)
    return lambda call: Reply([own[row] for row in call.rows][::-1])


def _of_batch(name: str, seed: int) -> Serve:
    """Inputs are normalised within the batch."""
    own, regression = fine(name, seed), source(name).regression

    def serve(call: Call) -> Reply:
        found = [own[row] for row in call.rows]
        if len(found) == 1:
            return Reply(found)
        if regression:
            middle = float(np.mean(found))
            return Reply([middle + 0.1 * (value - middle) + 1.2 * _spread(name) for value in found])
        return Reply([_reweighted(one, _first(one), 300.0) for one in found])

    return serve


def _failing(code: str, message: str, when: Callable[[Call], bool]) -> Make:
    return replied(lambda reply, call: Reply(code=code, message=message) if when(call) else reply)


def _lacks(call: Call) -> bool:
    return any(value is None for instance in call.instances for value in instance.values())


def _spoilt_where_missing(answer: Any, call: Call, place: int) -> Any:
    if all(value is not None for value in call.instances[place].values()):
        return answer
    return None if isinstance(answer, float) else answer | {"probabilities": dict.fromkeys(answer["probabilities"])}


def _one_month(call: Call) -> bool:
    return any(instance.get("month") == "sep" for instance in call.instances)


def _slow_part(reply: Reply, call: Call) -> Reply:
    return Reply(reply.predictions, times=12.0 if call.draw.random() < 0.15 else 1.0)


BAD = (
    Bad("raises for 1 request in 100", "raises", ("weather", "diabetes"),
        _failing("model_failed", "index 5 is out of bounds", lambda call: call.draw.random() < 0.01)),
    Bad("raises where an input is missing", "missing_values", ("weather", "diabetes"),
        _failing("model_failed", "float() argument must not be NoneType", _lacks), missing=0.04),
    Bad("answers NaN where an input is missing", "missing_values", ("fair", "affairs"),
        mapped(_spoilt_where_missing), missing=0.04),
    Bad("raises for a category that it does not know", "category_unseen", ("weather",),
        _failing("model_failed", "unknown category 'sep'", _one_month)),
    Bad("refuses an input that the champion takes", "refuses_input", ("fair",),
        _failing("out_of_range", "'educ' of instance 0 is 9", lambda call: call.instances[0]["educ"] < 10)),
    Bad("answers NaN for 1 request in 50", "not_finite", NUMBERS,
        _failing("not_finite", "output 'variable' holds NaN", lambda call: call.draw.random() < 0.02)),
    Bad("gives an answer too few", "wrong_shape", ("digits", "diabetes"),
        replied(lambda reply, call: Reply(reply.predictions[:-1]) if len(call.rows) > 3 else reply)),
    Bad("gives lists for numbers", "wrong_type", NUMBERS, mapped(lambda answer, _, __: [answer])),
    Bad("gives numbers for labels", "wrong_type", ("breast_cancer", "digits"),
        mapped(lambda answer, _, __: float(sorted(answer["probabilities"]).index(answer["label"])))),
    Bad("gives log-odds for probabilities", "probabilities_invalid", CLASSES,
        mapped(lambda answer, _, __: answer | {"probabilities": {
            name: math.log(value + 1e-6) for name, value in answer["probabilities"].items()}})),
    Bad("has a class more", "unknown_class", ("weather", "breast_cancer"),
        mapped(lambda answer, _, __: _with({"other": 0.05} | answer["probabilities"]))),
    Bad("has a class less", "class_missing", ("weather", "digits"),
        mapped(lambda answer, _, __: _with(dict(sorted(answer["probabilities"].items())[1:])))),
    Bad("one answer for everything", "constant_answer", (*CLASSES, *NUMBERS),
        lambda name, seed: answering([fine(name, seed)[seed % 50]] * len(champion(name)))),
    Bad("classes in another order", "swapped_classes", CLASSES, mapped(_renamed)),
    Bad("never answers one class", "class_dropped", ("digits", "weather"), mapped(_without)),
    Bad("numbers plus 1.5 spreads", "shifted_scores", NUMBERS, numbers(lambda value, spread: value + 1.5 * spread)),
    Bad("log-odds of a class plus 3", "shifted_scores", ("fair", "anes96"),
        mapped(lambda answer, _, __: _reweighted(answer, _first(answer), math.exp(3)))),
    Bad("another unit of the target", "scaled_scores", NUMBERS, numbers(lambda value, _: value * 2.54)),
    Bad("softmax twice", "scaled_scores", ("breast_cancer", "digits", "fair"), mapped(_flattened)),
    Bad("the opposite sign", "sign_flipped", NUMBERS, numbers(lambda value, _: -value)),
    Bad("a logarithm that was not undone", "transformed_scores", NUMBERS,
        numbers(lambda value, _: math.log1p(max(value, 0.0)))),
    Bad("clipped at what it once was", "clipped_scores", NUMBERS, _clipped),
    Bad("rounded to few steps", "rounded_scores", NUMBERS, _rounded),
    Bad("one input in another unit", "stale_preprocessing", ("weather:logistic", "diabetes:ridge", "anes96"),
        looked_up(_stale)),
    Bad("the scaler was lost", "stale_preprocessing", ("weather:logistic", "digits"), looked_up(_unscaled)),
    Bad("columns in another order", "unrelated_answers", ("weather", "diabetes", "digits"), looked_up(_columns_mixed),
        also="stale_preprocessing"),
    Bad("learnt from shuffled targets", "unrelated_answers", ("breast_cancer", "diabetes", "digits"),
        looked_up(_shuffled)),
    Bad("wrong for one value of a column", "bad_slice", ("weather", "fair", "affairs"), _worse_in),
    Bad("worse, as labels say", "worse_by_labels", ("breast_cancer", "digits", "affairs"), _worse, labelled=0.5),
    Bad("answers one input in many ways", "unstable", ("weather", "diabetes", "digits"), _noisy),
    Bad("gets worse with time", "drifting", ("weather", "breast_cancer", "diabetes"), _drifting),
    Bad("answers of the row before", "previous_answer", ("weather", "diabetes", "digits"), _previous),
    Bad("order lost within a batch", "rows_reordered", ("weather", "diabetes", "digits"), _sorted),
    Bad("normalised within the batch", "batch_dependent", ("breast_cancer", "diabetes", "digits"), _of_batch),
    Bad("twice as slow", "slow", ("weather", "diabetes"),
        replied(lambda reply, _: Reply(reply.predictions, times=2.0))),
    Bad("runs out of time for 1 request in 30", "slow", ("digits",),
        _failing("run_timeout", "the model did not end within 2 s", lambda call: call.draw.random() < 1 / 30)),
    Bad("slow for 1 request in 7", "slow_sometimes", ("weather", "diabetes"), replied(_slow_part)),
    Bad("slower with each request", "slowing", ("weather",),
        replied(lambda reply, call: Reply(reply.predictions, times=1 + call.number / 150))),
    Bad("leaks 0.5 MB a request", "memory_leak", ("weather", "diabetes"),
        replied(lambda reply, _: Reply(reply.predictions, memory_mb=0.5))),
    Bad("takes 100 MB for a rare input", "memory_jump", ("digits",),
        replied(lambda reply, call: Reply(reply.predictions, memory_mb=100.0 if call.draw.random() < 0.01 else 0.0))),
)  # fmt: skip
