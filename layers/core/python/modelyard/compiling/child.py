"""The child process of the compiler: one step after the other, each proven before it is kept.

    limit memory, CPU, files ──► refuse external data ──► answers of the raw file ──► ZipMap ──► trees apart
        ──► optimise ──► names for sizes ──► forests ──► forest kernel ──► time ──► files in the folder, answer

It runs as ``python -m modelyard.compiling.child`` in an empty folder with the model on standard input; the parent
(`modelyard.compiling.compiler`) keeps the clock. The answer is one JSON object on what was standard output; the files
that it names lie in the folder. So does what it would be so far, in case that the child does not come to its end.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.compiling import kernel, optimising, timing
from modelyard.compiling.forests import UnusualForestError, forests, without_zeros
from modelyard.compiling.loading import ANY, WEIGHTS, machine
from modelyard.compiling.named_sizes import LEAST_SHARED, inferred, with_named_sizes
from modelyard.compiling.onnx_file import OnnxFile
from modelyard.compiling.outcome import SO_FAR
from modelyard.compiling.packed_forest import as_packed_forest
from modelyard.compiling.proving import BATCH, THREADS, Measure, NotProvableError, session
from modelyard.compiling.single_trees import as_one_forest
from modelyard.compiling.tree_ensemble import as_tree_ensemble
from modelyard.compiling.zipmap import without_zipmap, zipmap_classes
from modelyard.external_data import MalformedError, has_external_data
from modelyard.trial import limit, readable

SAMPLE = "sample"
"""The folder with the caller's sample: ``0.npz``, ``1.npz`` and so on."""

LEAST_SHRINKING = 0.9
"""What is made smaller is kept when it has at most this share of the operations, or of the bytes."""

LEAST_SAVED = 64 << 10
"""Bytes that compact trees have to save: below, fetching and reading them takes no time that can be measured."""

TIMING_SHARE = 0.04
"""Of the time for a compilation: to find out whether a form is slower on one input. Mostly a tenth of it is enough."""

LONGEST_CREATION, CREATION_NOISE_S = 1.2, 1e-3
"""A session of a form may take at most this share of the raw file's, and this time, to create. onnxruntime looks for
each tree of a `TreeEnsemble` among all its nodes, so of a thousand small trees that takes longer than what it saves."""

_OUT_OF_MEMORY = r"allocate memory|bad_alloc|bad allocation"
_NO_USE = "does not pay"
_OPTIMISED = "optimised graph"
_PORTABLE, _PACKED, _OWN = range(3)
"""In which order forms are told of; they are made in another one, what saves most for its time first."""


class _Form:
    """A model on its way: its bytes, where its weights are, what was done to it."""

    def __init__(self, model: bytes, folder: Path, steps: list[dict[str, str]]) -> None:
        self.model = model
        self.folder = folder
        self.steps = steps
        self.architecture = ANY
        self.requires = ""
        self.order = _PORTABLE
        self.maps = False  # a file of weights, also when that was taken away
        self.on_all_threads = True  # is it proven, as far as it is
        self.differs = ""  # how, on several threads
        self.slower = False  # than the raw file; known once it was timed

    def copy(self, folder: Path) -> "_Form":
        """The same so far, to go on with in another folder."""
        return _Form(self.model, folder, list(self.steps))

    @property
    def weights(self) -> str | None:
        """The folder of its weights, if it has some."""
        return str(self.folder) if (self.folder / WEIGHTS).exists() else None

    @property
    def changed(self) -> bool:
        return any(step["outcome"] == "kept" for step in self.steps)

    @property
    def optimised(self) -> bool:
        """Whether onnxruntime wrote the graph, as it would run it on this processor."""
        return any(step["outcome"] == "kept" and step["name"].startswith(_OPTIMISED) for step in self.steps)

    @property
    def kernel(self) -> str | None:
        """The library that it asks for."""
        return kernel.find(self.requires)


class Compilation:
    """The steps over one model.

    Args:
        raw: The uploaded file.
        folder: Where weights and forms are written.
        sample: Inputs to compare on.
        seconds: What it may take.
    """

    def __init__(self, raw: bytes, folder: Path, sample: list[dict[str, Any]], seconds: float) -> None:
        self._raw = raw
        self._folder = folder
        self._seconds = seconds
        self.steps: list[dict[str, str]] = []
        self.measure = Measure(raw, sample, seconds=seconds, columns=zipmap_classes(raw))

    def forms(self) -> Iterator[_Form]:
        """The form of our own kernel, the portable one, that of this machine where its layout of weights can be saved.

        Each as soon as it is proven, since there may be no time for the next.
        """
        plain = _Form(self._raw, self._folder, [])
        self.steps = plain.steps
        self._try(plain, "plain probabilities", _plain)
        portable = plain.copy(self._place("portable"))
        joined = self._try(portable, "single trees", as_one_forest, threads=THREADS[:1])
        yield from self._portable(portable)
        if joined and (portable.slower or portable.differs):
            reason = portable.differs or "slower on several rows"
            portable = plain.copy(self._place("apart"))
            portable.steps.append({"name": "single trees", "outcome": "dropped", "note": reason})
            yield from self._portable(portable, packs=False)
        own = plain.copy(self._place("own"))
        if portable.maps and optimising.has_convolutions(own.model) and self._optimise(own, "all"):
            own.architecture, own.order = machine(), _OWN
            self._try(own, "named sizes", partial(_named, weights=own.weights))
            yield own

    def _portable(self, portable: _Form, *, packs: bool = True) -> Iterator[_Form]:
        """The form for any machine, after that of its forests for our own kernel."""
        self.steps = portable.steps
        if optimising.pays(portable.model):
            self._optimise_portably(portable)
        if portable.optimised and OnnxFile(portable.model).has_half_floats():
            portable.architecture = machine()
        if forests(OnnxFile(portable.model)):
            packed = self._packed(portable) if packs else None
            if packed is not None:
                self.steps = [*portable.steps, packed.steps[-1]]
                if packed.steps[-1]["outcome"] == "kept":
                    yield packed
            if not self._try(portable, "tree ensemble", as_tree_ensemble):
                self._try(portable, "compact trees", without_zeros, shrinks=True)
            self.steps = portable.steps if packed is None else [*portable.steps, packed.steps[-1]]
        elif not optimising.has_convolutions(
            portable.model
        ):  # names would change where it is laid out when it is loaded
            self._try(portable, "named sizes", partial(_named, weights=portable.weights))
        portable.maps = portable.weights is not None
        if not portable.on_all_threads:  # a session of such a file may take long to create, so this comes last
            portable.differs = self.measure.differs(portable.model, weights=portable.weights) or ""
        if portable.changed and not portable.differs:
            yield portable

    def _packed(self, before: _Form) -> _Form | None:
        """The form whose forests our own kernel runs; None where that is not here."""
        if kernel.find(kernel.FOREST) is None:
            return None
        form = _Form(before.model, self._place("packed"), list(before.steps))
        form.requires, form.architecture, form.order = kernel.FOREST, before.architecture, _PACKED
        if before.weights:
            shutil.copyfile(before.folder / WEIGHTS, form.folder / WEIGHTS)
        self._try(form, "forest kernel", partial(as_packed_forest, folder=form.folder))
        return form

    def _place(self, name: str) -> Path:
        place = self._folder / name
        place.mkdir()
        return place

    def _try(
        self,
        form: _Form,
        name: str,
        edit: Callable[[bytes], tuple[bytes, str] | None],
        *,
        shrinks: bool = False,
        threads: Sequence[int] = THREADS,
    ) -> bool:
        try:
            edited = edit(form.model)
        except UnusualForestError as reason:
            form.steps.append({"name": name, "outcome": "skipped", "note": str(reason)})
            return False
        if edited is None:
            return False
        model, note = edited
        before = len(form.model)
        if shrinks and (len(model) > LEAST_SHRINKING * before or before - len(model) < LEAST_SAVED):
            form.steps.append({"name": name, "outcome": "dropped", "note": f"{_NO_USE}: {note}"})
            return False
        return self._keep(form, name, model, note, form.weights, threads)

    def _keep(
        self,
        form: _Form,
        name: str,
        model: bytes,
        note: str,
        weights: str | None,
        threads: Sequence[int] = THREADS,
    ) -> bool:
        difference = self.measure.differs(model, weights=weights, kernel=form.kernel, threads=threads)
        form.steps.append({"name": name, "outcome": "dropped" if difference else "kept", "note": difference or note})
        if difference is None:
            form.model, form.on_all_threads = model, threads == THREADS
        return difference is None

    def _optimise_portably(self, form: _Form) -> None:
        if self._optimise(form, "extended"):
            return
        if not form.steps[-1]["note"].startswith(_NO_USE) and self._optimise(form, "basic"):
            return  # fusions that are saved, then fused again, may round in another way
        (form.folder / WEIGHTS).unlink(missing_ok=True)  # of a graph that could not be saved whole
        model = optimising.weights_outside(form.model, form.folder)
        if model is not None and not self._keep(form, "weights outside", model, self._outside(form), str(form.folder)):
            (form.folder / WEIGHTS).unlink()

    def _outside(self, form: _Form) -> str:
        return f"{(form.folder / WEIGHTS).stat().st_size:,} bytes of weights in a file of their own"

    def _optimise(self, form: _Form, level: str) -> bool:
        name = f"{_OPTIMISED} ({level})"
        for left in form.folder.iterdir():
            left.unlink()
        try:
            saved, outside = optimising.optimised(form.model, level, form.folder)
        except Exception as refused:  # noqa: BLE001 - onnxruntime's errors have no base class of their own
            form.steps.append({"name": name, "outcome": "dropped", "note": f"it cannot be saved: {readable(refused)}"})
            return False
        before, after = optimising.operations(form.model), optimising.operations(saved)
        note = f"{before:,} operations became {after:,}"
        if level == "all" and not optimising.has_layout(saved):
            form.steps.append({"name": name, "outcome": "dropped", "note": "no layout of weights to save"})
        elif not outside and after > LEAST_SHRINKING * before:
            form.steps.append({"name": name, "outcome": "dropped", "note": f"{_NO_USE}: {note}"})
        else:
            note += f"; {self._outside(form)}" if outside else ""
            if self._keep(form, name, saved, note, str(form.folder) if outside else None):
                return True
        (form.folder / WEIGHTS).unlink(missing_ok=True)
        return False

    def timed(self, form: _Form) -> tuple[dict[str, float], bool]:
        """Milliseconds to create a session and to run, raw and compiled; and whether it is slower in one of the two.

        The least of the processor's time. One row is run, and the first batch: an operation more shows in one, a slower
        kernel in the other. Our own kernel runs different ones in turn.
        """
        least: dict[str, float] = {}

        def created() -> list[Any]:
            made = []
            for name, make in {
                "raw": partial(session, self._raw),
                "compiled": partial(session, form.model, weights=form.weights, kernel=form.kernel),
            }.items():
                if name == "raw" and self.measure.engine is not None:
                    made.append(self.measure.engine)
                    least["raw_create_ms"] = self.measure.created_s
                    continue
                began = time.thread_time()
                made.append(make())
                took = time.thread_time() - began
                least[f"{name}_create_ms"] = min(took, least.get(f"{name}_create_ms", took))
            return made

        def sessions(inputs: list[dict[str, Any]]) -> tuple[timing.Run, timing.Run]:
            raw, compiled = (partial(_run_all, engine, self.measure.outputs, inputs) for engine in created())
            return raw, compiled

        slower = False
        single, *batch = ([feeds] for feeds in self.measure.single_and_batch())
        if form.requires and batch:
            single, batch = self.measure.many_rows(1) or single, [self.measure.many_rows(4 * BATCH) or batch[0]]
        for place, inputs in enumerate((single, *batch)):
            seconds = TIMING_SHARE * self._seconds
            times, longer = timing.compared(partial(sessions, inputs), seconds=seconds)
            slower |= longer
            if place == 0 or longer:
                least["raw_run_ms"], least["compiled_run_ms"] = (took / len(inputs) for took in times)
        created()
        slower |= least["compiled_create_ms"] > LONGEST_CREATION * least["raw_create_ms"] + CREATION_NOISE_S
        return {name: round(seconds * 1000, 4) for name, seconds in least.items()}, slower


def _run_all(engine: Any, outputs: list[str], inputs: list[dict[str, Any]]) -> None:
    for feeds in inputs:
        engine.run(outputs, feeds)


def _plain(model: bytes) -> tuple[bytes, str] | None:
    plain = without_zipmap(model)
    return None if plain is None else (plain, "probabilities [batch, classes] instead of a list of dictionaries")


def _named(model: bytes, *, weights: str | None) -> tuple[bytes, str] | None:
    if optimising.operations(model) < LEAST_SHARED:
        return None
    try:
        values = inferred(model, weights=weights)
    except Exception:  # noqa: BLE001 - some values onnxruntime gives to no caller
        return None
    return with_named_sizes(model, values)


def compiled(raw: bytes, folder: Path, sample: list[dict[str, Any]], *, seconds: float) -> dict[str, Any]:
    """Compile a model into a folder; the answer of the child process."""
    if has_external_data(raw):
        return _refused("external_data", "the model keeps weights in another file (external data)")
    compilation = Compilation(raw, folder, sample, seconds)
    measure = compilation.measure
    answer: dict[str, Any] = {
        "outcome": "compiled",
        "onnxruntime": optimising.version(),
        "checked": {
            "samples": len(measure.samples),
            "rows": measure.rows,
            "values": sorted({words.partition(" x ")[2] for words, _ in measure.samples}),
            "threads": list(THREADS),
        },
        "forms": [],
        "slower": [],
    }
    for number, form in enumerate(compilation.forms()):
        times, form.slower = compilation.timed(form)
        if form.slower:
            answer["slower"].append(times)
            continue
        (folder / f"{number}.onnx").write_bytes(form.model)
        weights = form.weights
        if weights is not None:
            (form.folder / WEIGHTS).rename(folder / f"{number}.{WEIGHTS}")
        answer["forms"].append(
            {
                "number": number,
                "order": form.order,
                "architecture": form.architecture,
                "weights": weights is not None,
                "steps": form.steps,
                "measured": times,
                "requires": form.requires,
            }
        )
        written = folder / f"{SO_FAR}.part"
        written.write_text(json.dumps(answer | {"steps": compilation.steps}))
        written.rename(folder / SO_FAR)
    answer["steps"] = compilation.steps
    return answer


def main(arguments: list[str]) -> None:
    """Compile the model on standard input; arguments: memory in bytes, CPU seconds, seconds, largest file."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    memory_bytes, cpu_s, seconds, largest = int(arguments[0]), int(arguments[1]), float(arguments[2]), int(arguments[3])
    limit(memory_bytes, cpu_s, largest_file=largest)
    folder = Path.cwd()
    answer: dict[str, Any]
    try:
        answer = compiled(sys.stdin.buffer.read(), folder, _sample(folder), seconds=seconds)
    except NotProvableError as unproven:
        answer = _refused("not_provable", str(unproven))
    except MalformedError as malformed:
        answer = _refused("not_onnx", f"not an ONNX file, or a damaged one: {malformed}")
    except MemoryError:
        answer = _refused("memory", f"it takes more than {memory_bytes >> 20} MB")
    except Exception as broken:  # noqa: BLE001 - whatever a model brings about, the raw file serves
        reason = readable(broken)
        answer = _refused("memory" if re.search(_OUT_OF_MEMORY, reason) else "failed", reason)
    with os.fdopen(answer_to, "w", encoding="utf-8") as channel:
        json.dump(answer, channel)
    os._exit(0)  # no teardown of a session that a hostile model has used


def _refused(code: str, reason: str) -> dict[str, Any]:
    return {"outcome": "refused", "code": code, "reason": reason}


def _sample(folder: Path) -> list[dict[str, Any]]:
    import numpy as np

    found = []
    for path in sorted((folder / SAMPLE).glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            named = {name: arrays[f"{at}"] for at, name in enumerate(arrays["names"].tolist())}
        found.append(
            {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in named.items()}
        )
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
