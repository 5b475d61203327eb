"""The entry point of the training container: SageMaker's folders in, SageMaker's folders out.

``python -m modelyard.training.container`` reads the job from the channel ``job``, trains, and leaves what came of it in
the model folder, which SageMaker packs and stores. Refused data is an outcome and no failure: it ends with 0 and a file
that says why. Everything else ends with 1 and the reason where SageMaker looks for it.

SageMaker's layout: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html. The root can be
another folder (``MODELYARD_ML_ROOT``), so the very same process runs on any machine.
"""

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from modelyard.errors import ModelyardError, UsageError
from modelyard.training import job

ROOT = "/opt/ml"
CHANNEL = "job"
REFUSALS = frozenset({"too_few_rows", "nothing_fitted"})
LONGEST_FAILURE = 1024
"""Characters that SageMaker keeps of a failure."""


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Train once; the exit status of the process."""
    root = Path(environ.get("MODELYARD_ML_ROOT", ROOT))
    source, destination = root / "input" / "data" / CHANNEL, root / "model"
    destination.mkdir(parents=True, exist_ok=True)
    if not (source / job.PLAN).is_file():
        missing = UsageError(
            f"there is no job in {source}; expected {job.PLAN}, {job.TRAINING} and {job.EVALUATION}",
            code="no_job",
            next_step="Give the training job a channel 'job' with the files that the prepare step wrote.",
        )
        return _failed(root, missing)
    try:
        job.run_job(source, destination, progress=lambda said: print(said, flush=True))  # noqa: T201 - the job's log
    except UsageError as refusal:
        if refusal.code in REFUSALS:
            (destination / job.REFUSED).write_text(refusal.message, encoding="utf-8")
            return 0
        return _failed(root, refusal)
    except Exception as error:  # noqa: BLE001 - whatever it is, SageMaker is told why
        return _failed(root, error)
    return 0


def _failed(root: Path, error: Exception) -> int:
    said = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
    failure = root / "output" / "failure"
    failure.parent.mkdir(parents=True, exist_ok=True)
    failure.write_text(said[:LONGEST_FAILURE], encoding="utf-8")
    if not isinstance(error, ModelyardError):
        traceback.print_exception(error)
    print(said, file=sys.stderr, flush=True)  # noqa: T201 - the job's log
    return 1


if __name__ == "__main__":
    sys.exit(main())
