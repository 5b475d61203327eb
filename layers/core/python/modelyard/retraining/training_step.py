"""The training step, apart from the others because it alone needs scikit-learn and runs on the training layer.

It reads a job from the artifact bucket and writes what came of it beside it. It knows neither the registry nor the data
bucket: what it may learn from was decided before. SageMaker's container does the same with folders of its own
(`modelyard.training.container`), and `collect_output` brings its files to where this step leaves them.
"""

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import ModelError, UsageError
from modelyard.retraining.bounds import LONGEST_ERROR, MOST_SCORES, listed, short
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import leave, read, read_if_there
from modelyard.training import job
from modelyard.training.notebook import EXECUTED

REFUSALS = frozenset({"too_few_rows", "nothing_fitted"})
"""What the data is to blame for: the run ends as a rejection, in words, and not as a failure of the machinery."""
LARGEST_OUTPUT = 600 * 2**20
"""Bytes of an archive when it is unpacked; the registry takes no model above 512 MiB."""
_SAID = 600
"""Characters of a notebook's failure, so that what follows it is told as well."""
_OUTPUT = frozenset({job.MODEL, job.TRAINED, job.REFUSED, EXECUTED})


def train_candidates(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Train what a job says.

    Args:
        workbench: The artifact bucket.
        event: ``job``, the job's folder; ``plan``; ``run_id``.

    Returns:
        ``status``: ``trained`` or ``refused``; ``reason``, when refused. When trained also ``model_key`` and
        ``trained_key`` in the artifact bucket, and of a notebook ``notebook_key``, as it ran; ``candidate``,
        ``settings``, the best of the ``leaderboard``; ``seconds``; ``remarks``.
    """
    folder = str(event["job"])
    done = _earlier(workbench, folder)
    if done is not None:
        return done
    scratch = Path(tempfile.mkdtemp(prefix="training-"))
    try:
        source, destination = scratch / "in", scratch / "out"
        for part in (source, destination):
            part.mkdir()
        for name in (job.PLAN, job.TRAINING, job.EVALUATION):
            (source / name).write_bytes(read(workbench, f"{folder}/in/{name}"))
        given = read_if_there(workbench, f"{folder}/in/{job.GIVEN}")
        if given is not None:
            (source / job.GIVEN).write_bytes(given)
        try:
            job.run_job(source, destination, progress=_say)
        except UsageError as refusal:
            if refusal.code not in REFUSALS:
                raise _with_notebook(workbench, folder, destination / EXECUTED, refusal) from refusal
            return {"status": "refused", "reason": short(refusal.message)}
        files = {name: destination / name for name in _OUTPUT}  # a notebook may have left more
        return _leave_output(
            workbench, folder, {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _with_notebook(workbench: Workbench, folder: str, executed: Path, failure: UsageError) -> UsageError:
    """The failure of a notebook, and where it lies as it ran; under a name of its own, for a redrive may end well."""
    if not executed.is_file():
        return failure
    content = executed.read_bytes()
    name = f"failed-{hashlib.sha256(content).hexdigest()[:16]}.ipynb"
    key = leave(workbench, f"{folder}/{name}", content)
    return UsageError(
        f"{short(failure.message, _SAID)}; as it ran, it is {key} in the artifact bucket",
        code=failure.code,
        next_step=failure.next_step,
    )


def collect_output(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Bring what a SageMaker training job wrote to where the next steps look for it.

    Args:
        workbench: The artifact bucket.
        event: ``job``; ``output``, the key of SageMaker's ``model.tar.gz``; ``plan``; ``run_id``.

    Returns:
        What `train_candidates` answers.

    Raises:
        ModelError: With code ``training_output`` when the archive does not hold a training's files.
    """
    folder, key = str(event["job"]), str(event["output"])
    key = key.split("/", 3)[3] if key.startswith("s3://") else key
    done = _earlier(workbench, folder)
    if done is not None:
        return done
    files, others = _unpacked(key, read(workbench, key))
    refusal = files.get(job.REFUSED)
    if refusal is not None:
        return {"status": "refused", "reason": short(refusal.decode("utf-8", "replace"))}
    missing = sorted({job.MODEL, job.TRAINED} - set(files))
    if missing:
        raise ModelError(
            f"{key} lacks {', '.join(missing)}; it holds {short(', '.join([*files, *others]), 200) or 'nothing'}",
            code="training_output",
            next_step="Look at the training job's log: the container writes both at the end of a training.",
        )
    return _leave_output(workbench, folder, files)


def _unpacked(key: str, archive: bytes) -> tuple[dict[str, bytes], list[str]]:
    """The files of a training in an archive, and the names of what else is there. Nothing is written by its names.

    Raises:
        ModelError: When it is no archive, is damaged or cut off, or unpacks to more than any model.
    """
    files: dict[str, bytes] = {}
    others: list[str] = []
    try:
        # To its end, where the checksum is: reading it as tar stops before that.
        with gzip.open(io.BytesIO(archive)) as packed:
            content = packed.read(LARGEST_OUTPUT + 1)
        if len(content) > LARGEST_OUTPUT:
            raise _unusable(key, f"it unpacks to more than {LARGEST_OUTPUT:,} bytes")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as opened:
            for member in opened:
                name = member.name.removeprefix("./")
                stream = opened.extractfile(member) if member.isfile() and name in _OUTPUT else None
                if stream is None:
                    others.append(name)
                else:
                    files[name] = stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as problem:
        raise _unusable(key, str(problem)) from problem
    return files, others


def _unusable(key: str, why: str) -> ModelError:
    return ModelError(
        f"{key} is no archive of a training job: {short(why)}",
        code="training_output",
        next_step="Look at the training job's log, and start another run.",
    )


def _earlier(workbench: Workbench, folder: str) -> dict[str, Any] | None:
    """What an earlier attempt of this step came to, when only its answer was lost."""
    if read_if_there(workbench, f"{folder}/out/{job.MODEL}") is None:
        return None
    document = read_if_there(workbench, f"{folder}/out/{job.TRAINED}")
    return None if document is None else _answer(folder, job.read_trained(document))


def _leave_output(workbench: Workbench, folder: str, files: dict[str, bytes]) -> dict[str, Any]:
    try:
        trained = job.read_trained(files[job.TRAINED])
    except msgspec.MsgspecError as problem:
        raise _unusable(job.TRAINED, str(problem)) from problem
    for name in sorted(files, key=lambda name: name == job.TRAINED):  # the answer last: what it names is there then
        leave(workbench, f"{folder}/out/{name}", files[name])
    return _answer(folder, trained)


def _answer(folder: str, trained: job.Trained) -> dict[str, Any]:
    return {
        "status": "trained",
        "reason": "",
        "model_key": f"{folder}/out/{job.MODEL}",
        "trained_key": f"{folder}/out/{job.TRAINED}",
        **({"notebook_key": f"{folder}/out/{EXECUTED}"} if trained.candidate.endswith(".ipynb") else {}),
        "candidate": trained.candidate,
        "settings": dict(list(trained.settings.items())[:50]),
        "leaderboard": [_brief(score) for score in trained.leaderboard[:MOST_SCORES]],
        "seconds": trained.seconds,
        "remarks": listed(trained.remarks),
    }


def _brief(score: dict[str, Any]) -> dict[str, Any]:
    """A line of the leaderboard without its folds; why it could not be fitted, cut."""
    return {key: short(value) if key == "problem" else value for key, value in score.items() if key != "folds"}


def _say(progress: str) -> None:
    """A line of the function's log, for whoever follows a training."""
    print(short(progress, LONGEST_ERROR), flush=True)  # noqa: T201 - Lambda's log is standard output
