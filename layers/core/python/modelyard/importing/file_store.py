"""Metrics and parameters from MLflow's file store, where a model's folder lies in one; without MLflow.

    <store>/<experiment>/<run id>/{meta.yaml, metrics/, params/, artifacts/<path of the model>/MLmodel}      MLflow 2
    <store>/<experiment>/models/<model id>/{meta.yaml, metrics/, params/, artifacts/MLmodel}                 MLflow 3
    <store>/<experiment>/<run id>/{meta.yaml, metrics/, params/, outputs/<model id>/}

A ``meta.yaml`` counts only where it names the run or the model that MLmodel names, so a folder that was copied into
another run's brings nothing of that run along.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from modelyard.errors import UsageError
from modelyard.importing.inside import read_inside
from modelyard.importing.mlmodel import MlModel
from modelyard.importing.plain_yaml import read_yaml, text_at
from modelyard.importing.recorded import Notes, Recorded, recorded

V = TypeVar("V")
_META = "meta.yaml"
_HIGHEST = 8
"""Folders above the model's that are looked at; artifact paths have one or two parts."""

_MOST_FILES = 5_000
_LARGEST_HISTORY = 16 << 20
"""Bytes of one metric's file: 300,000 steps."""


def recorded_beside(folder: Path, model: MlModel) -> Recorded:
    """What the file store says about the model in ``folder``; a remark when there is none."""
    run, own = _find(folder.resolve(), model)
    if run is None and own is None:
        return Recorded(remarks=(_nothing(model),) if model.run_id else ())
    return recorded(
        Notes() if run is None else _notes(run),
        None if own is None else _notes(own),
        models_of_run=1 if run is None else len(_listing(run / "outputs")),
    )


def _nothing(model: MlModel) -> str:
    uri = f"models:/{model.model_id}" if (model.model_id or "").startswith("m-") else f"runs:/{model.run_id}/PATH"
    return f"there is no file store around the folder, so no metrics and parameters; import {uri} to have them"


def _find(folder: Path, model: MlModel) -> tuple[Path | None, Path | None]:
    """The folders of the run and of the model itself."""
    run = own = None
    for above in folder.parents[:_HIGHEST]:
        if model.model_id and _is_about(above, "model_id", model.model_id):
            own = above
            beside = above.parent.parent / (model.run_id or "")
            if model.run_id and _is_about(beside, "run_id", model.run_id):
                run = beside
        elif model.run_id and _is_about(above, "run_id", model.run_id):
            run = above
    return run, own


def _is_about(folder: Path, key: str, value: str) -> bool:
    try:
        meta = read_yaml(read_inside(folder, _META, limit=1 << 16), name=_META)
        return text_at(meta, key, name=_META) == value
    except (UsageError, OSError):
        return False  # no meta.yaml, or somebody else's


def _notes(folder: Path) -> Notes:
    return Notes(dict(_entries(folder, "metrics", _latest)), dict(_entries(folder, "params", _text)))


def _entries(folder: Path, kind: str, value_of: Callable[[bytes], V | None]) -> Iterator[tuple[str, V]]:
    """Names and values; a slash in a name is a folder, and a file that does not read as one is passed over."""
    for name in _files(folder / kind):
        try:
            value = value_of(read_inside(folder, f"{kind}/{name}", limit=_LARGEST_HISTORY))
        except (UsageError, ValueError):
            continue
        if value is not None:
            yield name, value


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    for at, _, names in os.walk(folder):
        found += [(Path(at) / name).relative_to(folder).as_posix() for name in names]
        if len(found) > _MOST_FILES:
            break
    return sorted(found)[:_MOST_FILES]


def _listing(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []  # written by MLflow 2, where a run has no outputs


def _latest(content: bytes) -> float | None:
    """A metric's last value: of the highest step, and there of the latest time, as MLflow itself takes it.

    A line is ``time value [step [run id] [dataset's name and digest]]``.
    """
    points = []
    for line in content.decode("utf-8").splitlines():
        fields = line.split(" ")
        step = int(fields[2]) if len(fields) in (3, 4, 6) else 0
        points.append((step, int(fields[0]), float(fields[1])))
    return max(points)[2] if points else None


def _text(content: bytes) -> str:
    return content.decode("utf-8")
