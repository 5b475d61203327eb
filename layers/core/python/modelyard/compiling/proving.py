"""Equal to the bit: the raw model's answers, and whether another model gives the same.

The measure is the uploaded file as the endpoint would run it: onnxruntime with all its optimisations. A model that does
not even agree with itself (it draws random numbers) cannot be proven equal to anything and is not compiled.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime

from modelyard.compiling import sampling
from modelyard.compiling.kernel import whole
from modelyard.compiling.loading import WEIGHTS_FOLDER
from modelyard.trial import readable

THREADS = (1, 2)
"""A forest adds up in another order on several threads; the compiled one has to follow there too."""

SHARE_OF_TIME, LONGEST_S = 0.02, 1.0
"""Of what a compilation may take, and in seconds: for the first answers. Each step answers the sample twice more."""

LONG_CREATION_S = 1.0
"""Of a processor. The raw file's session is then kept and asked again, where otherwise a new one is made each time."""

BATCH, MOST_ROWS = 10, 1000
"""Rows from which on an input is a batch; and those that are cut from batches."""


class NotProvableError(Exception):
    """There is nothing to compare with; the message says why."""


def session(
    model: bytes,
    *,
    threads: int = 1,
    weights: str | None = None,
    kernel: str | None = None,
    save: dict[str, str] | None = None,
    level: Any = None,
) -> Any:
    """An onnxruntime session as the endpoint makes it.

    Args:
        model: The bytes of the file.
        threads: For one run.
        weights: The folder of its weights, where it has them in another file.
        kernel: The library with operations of our own, where it has some.
        save: Further session options, by name, such as those that save the optimised model.
        level: Of optimisation; None: all.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if level is not None:
        options.graph_optimization_level = level
    if weights is not None:
        options.add_session_config_entry(WEIGHTS_FOLDER, weights)
    if kernel is not None:
        options.register_custom_ops_library(whole(kernel))
    for name, value in (save or {}).items():
        if name == "optimized_model_filepath":
            options.optimized_model_filepath = value
        else:
            options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


class Measure:
    """What the raw model answers to a sample.

    Attributes:
        samples: The inputs that it took, with what they are in words.
        rows: How many rows they have together.
        engine: The raw file's session, of a file that takes long to create one of; None otherwise, since a large forest
            takes 300 MB.
        created_s: A processor's time to create it.

    Args:
        model: The raw file.
        sample: Inputs by name, or none to draw some.
        seconds: What the whole compilation may take.
        columns: The classes of outputs that are a ZipMap's.

    Raises:
        NotProvableError: When it takes none of the sample, or answers it in two ways.
    """

    def __init__(self, model: bytes, sample: list[dict[str, Any]], *, seconds: float, columns: dict[str, Any]) -> None:
        self._columns = columns
        self.samples: list[tuple[str, dict[str, Any]]] = []
        self._answers: list[list[Any]] = []
        began = time.thread_time()
        engine = session(model)
        self.created_s = time.thread_time() - began
        self.outputs: list[str] = [node.name for node in engine.get_outputs()]
        self._notes: dict[str, str] = engine.get_modelmeta().custom_metadata_map
        offered = [(f"{_length(feeds)} x given", feeds) for feeds in sample]
        problem = ""
        until = time.monotonic() + min(SHARE_OF_TIME * seconds, LONGEST_S)
        for words, feeds in offered or self._drawn(engine.get_inputs(), sampling.Hints(model)):
            if self.samples and time.monotonic() > until:
                break
            try:
                self._answers.append(self._run(engine, feeds))
            except Exception as refused:  # noqa: BLE001 - onnxruntime's errors have no base class of their own
                problem = readable(refused)
                continue
            self.samples.append((words, feeds))
        self.engine = engine if self.created_s > LONG_CREATION_S else None
        del engine
        if not self.samples:
            raise NotProvableError(
                f"the model takes none of the {'given' if offered else 'generated'} samples: {problem}"
            )
        if self._answered(self.engine or session(model), 1, self._answers):
            raise NotProvableError("the model gives two answers to one input, so none can be compared")
        self._model = model
        self._several: list[list[Any]] = []
        self.rows = sum(_length(feeds) for _, feeds in self.samples)

    def _drawn(self, inputs: list[Any], hints: sampling.Hints) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from sampling.generated(inputs, hints)
        if not self.samples:
            yield from sampling.generated(inputs, hints, larger=True)

    def single_and_batch(self) -> list[dict[str, Any]]:
        """The first input, and the first of ten rows or more: what a run is timed on."""
        batches = (feeds for _, feeds in self.samples[1:] if _length(feeds) >= BATCH)
        return [self.samples[0][1], *itertools.islice(batches, 1)]

    def many_rows(self, rows: int) -> list[dict[str, Any]]:
        """Different inputs of so many rows, cut from all batches that are of the first one's kind; none for one alone.

        A processor learns the ways that forty rows take through trees, one by one or as a batch, and then runs them as
        no request finds them; of two hundred it does not.
        """
        kinds = [(words.partition(" x ")[2], feeds) for words, feeds in self.samples[1:] if _rows(feeds) >= BATCH]
        alike = [feeds for kind, feeds in kinds if kind == kinds[0][0]]
        count = min(MOST_ROWS, sum(map(_rows, alike)))
        if count < 2 * rows:
            return []
        pooled = {name: np.concatenate([feeds[name] for feeds in alike]) for name in alike[0]}
        return [
            {name: array[start : start + rows] for name, array in pooled.items()}
            for start in range(0, count - rows + 1, rows)
        ]

    def differs(
        self, model: bytes, *, weights: str | None = None, kernel: str | None = None, threads: Sequence[int] = THREADS
    ) -> str | None:
        """How the answers of another model differ, or None when they are the same to the bit on 1 and 2 threads.

        One with a kernel is compared on one thread, which is all that it is for.
        """
        try:
            return self._compared(model, weights, THREADS[0], self._answers, kernel) or (
                None
                if kernel or THREADS[1] not in threads
                else self._compared(model, weights, THREADS[1], self._on_several())
            )
        except Exception as refused:  # noqa: BLE001 - as above
            return f"onnxruntime refuses it: {readable(refused)}"

    def _on_several(self) -> list[list[Any]]:
        """The raw model's answers on two threads; of a file that takes long to create, what comes first needs none."""
        if not self._several:
            several = session(self._model, threads=THREADS[1])
            self._several = [self._run(several, feeds) for _, feeds in self.samples]
        return self._several

    def _compared(
        self, model: bytes, weights: str | None, threads: int, expected: list[list[Any]], kernel: str | None = None
    ) -> str | None:
        return self._answered(session(model, threads=threads, weights=weights, kernel=kernel), threads, expected)

    def _answered(self, other: Any, threads: int, expected: list[list[Any]]) -> str | None:
        if [node.name for node in other.get_outputs()] != self.outputs:
            return "it has other outputs"
        if not self._notes.items() <= other.get_modelmeta().custom_metadata_map.items():
            return "it lost metadata"
        for (words, feeds), answers in zip(self.samples, expected, strict=True):
            if not same(answers, self._run(other, feeds)):
                return f"another answer to {words} on {threads} thread{'s' * (threads > 1)}"
        return None

    def _run(self, engine: Any, feeds: dict[str, Any]) -> list[Any]:
        """The answers as arrays; the dictionaries of a ZipMap as the columns that they were made from."""
        answers = engine.run(self.outputs, feeds)
        return [
            np.array([[row[name] for name in self._columns[output]] for row in answer], np.float32)
            if isinstance(answer, list) and output in self._columns
            else answer
            for output, answer in zip(self.outputs, answers, strict=True)
        ]


def _length(feeds: dict[str, Any]) -> int:
    """How many rows the first input has that has any."""
    return next((len(array) for array in feeds.values() if array.ndim), 1)


def _rows(feeds: dict[str, Any]) -> int:
    """How many rows an input has; 0 where its arrays differ in that."""
    found = {len(array) if array.ndim else 1 for array in feeds.values()}
    return found.pop() if len(found) == 1 else 0


def same(some: list[Any], others: list[Any]) -> bool:
    """Whether two lists of arrays are equal in dtype, shape and every bit, any NaN standing for any other."""
    return len(some) == len(others) and all(_same(one, other) for one, other in zip(some, others, strict=True))


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return type(one) is type(other) and repr(one) == repr(other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == object:
        return bool((one == other).all())
    if one.tobytes() == other.tobytes():
        return True
    if one.dtype.kind != "f":
        return False
    absent = np.isnan(one)
    return bool((absent == np.isnan(other)).all()) and one[~absent].tobytes() == other[~absent].tobytes()
