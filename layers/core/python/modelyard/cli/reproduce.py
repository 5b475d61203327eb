"""Train a version again from what it was trained on, and say whether the same file comes of it.

What is needed is on the version: the plan, every file as the exact object version, the frozen rows, who won the search
and with which settings. The rows are put together again, the winner is trained once more in a process of its own on the
libraries of the built training layer, and the digests are compared. Where they differ it is said what else differs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard.cli.arguments import REFERENCE, find_version, parse_reference
from modelyard.cli.models import AsJson
from modelyard.cli.session import Session
from modelyard.cli.show import Step, out, print_json
from modelyard.errors import ConflictError, ModelyardError

if TYPE_CHECKING:
    from modelyard.packaging import LayerManifest
    from modelyard.spec import Model
    from modelyard.training.plan import Plan
    from modelyard.version import Version

TIMEOUT_S = 3600


@dataclass
class Rows:
    """The rows of a version, put together again."""

    plan: "Plan"
    training: bytes
    evaluation: bytes
    differences: list[str] = field(default_factory=list)


def reproduce(
    context: typer.Context,
    version: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help=REFERENCE)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Keep the trained file here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a version again from its own data, and compare the file byte for byte."""
    session: Session = context.obj
    found = find_version(session.registry, parse_reference(version))
    document = _document(session, found)
    with Step("Read its data") as step:
        rows = _rows(session, found, document)
        step.outcome = f"{len(document['files'])} files"
    with Step("Train it again") as step, tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        own = _own_code(session, found, rows.plan)
        trained, environment = _train(session, rows, document, own, Path(folder))
        step.outcome = f"{document['training']['candidate']}"
    digest = hashlib.sha256(trained).hexdigest()
    if output is not None:
        output.write_bytes(trained)
    same = digest == found.manifest.digest
    differences = [] if same else [*rows.differences, *_environments(document["training"]["environment"], environment)]
    said = {
        "model": found.manifest.model,
        "version": found.number,
        "digest": found.manifest.digest,
        "again": digest,
        "same": same,
        "differences": differences,
    }
    if as_json:
        print_json(said)
    elif same:
        out.print(
            f"{escape(found.manifest.model)}:{found.number} is reproduced byte for byte: {digest}", soft_wrap=True
        )
    if not same:
        why = "; ".join(differences) or "nothing else that is recorded differs"
        raise ConflictError(
            f"{found.manifest.model}:{found.number} is {found.manifest.digest[:12]}, and trained again it is "
            f"{digest[:12]}: {why}",
            code="not_reproduced",
            next_step="Train it where it was trained, with the libraries and the release that its report names.",
        )


def _document(session: Session, version: "Version") -> dict[str, Any]:
    name = f"{version.manifest.model}:{version.number}"
    key = version.manifest.evaluation
    stored = None if key is None else session.registry.artifacts.get(key)
    document: dict[str, Any] = {} if stored is None else json.loads(stored.body)
    if version.manifest.lineage.source != "trained" or "evaluation_set" not in document:
        raise ConflictError(
            f"{name} cannot be trained again: "
            + (
                "it was brought, not trained here"
                if version.manifest.lineage.source != "trained"
                else "its record is gone, or of a release that did not keep all that is needed"
            ),
            code="not_reproducible",
            next_step=f"See where it comes from: modelyard lineage {name}",
        )
    return document


def _rows(session: Session, version: "Version", document: dict[str, Any]) -> Rows:
    """The rows to learn from and those that judge, from the very object versions that the version names."""
    from modelyard.training.freezing import FrozenRows, are_frozen
    from modelyard.training.job import write_rows
    from modelyard.training.plan import decode_plan
    from modelyard.training.table import read_table, table_of

    plan = decode_plan(document["plan"])
    contents: list[bytes] = []
    missing: list[str] = []
    for file in document["files"]:
        content = session.uploads.get(file["key"], file["version_id"])
        if content is None or hashlib.sha256(content).hexdigest() != file["sha256"]:
            missing.append(f"{file['key']} (version {file['version_id']})")
        else:
            contents.append(content)
    number = document["evaluation_set"]["number"]
    frozen_set = session.registry.evaluation_set_numbered(plan.model, number)
    stored = None if frozen_set is None else session.registry.artifacts.get(frozen_set.key)
    if stored is None:
        missing.append(f"evaluation set {number}")
    if missing or stored is None:
        raise ConflictError(
            f"{plan.model}:{version.number} cannot be trained again: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} gone from the buckets, or changed",
            code="not_reproducible",
            next_step=f"Its record stays: modelyard lineage {plan.model}:{version.number}",
        )
    frozen = FrozenRows.from_csv(stored.body)
    reading = read_table(plan, contents)
    if reading.table is None:
        raise ModelyardError(
            f"this release reads the files in another way than the one that trained: {'; '.join(reading.findings)}",
            code="not_reproducible",
            next_step="Use the release of Modelyard that trained the version.",
        )
    training = write_rows(plan, reading.table.take(~are_frozen(plan, reading.table, frozen)))
    judging = table_of(plan, frozen.to_csv(), name=f"evaluation set {number}")
    evaluation = write_rows(plan, judging, without_target=True)
    rows = Rows(plan, training, evaluation)
    from modelyard.retraining.preparing import digest_of_rows

    if digest_of_rows(plan, training, evaluation) != document.get("digest"):
        rows.differences.append("the rows to learn from are others: this release reads or divides files in another way")
    return rows


def _own_code(session: Session, version: "Version", plan: "Plan") -> "Model | None":
    """The model whose own code trained the version; None where the trainer did.

    Raises:
        ConflictError: When this project does not have that code.
    """
    if plan.training.entry is None:
        return None
    model = session.model_here(plan.model)
    if model is None or model.training_entry != plan.training.entry:
        raise ConflictError(
            f"{plan.model}:{version.number} cannot be trained again: {plan.training.entry} trained it, which "
            f"models/{plan.model} of this project does not name",
            code="not_reproducible",
            next_step="Run the command in the project, and at the commit, that trained the version.",
        )
    return model


def _train(
    session: Session, rows: Rows, document: dict[str, Any], own: "Model | None", folder: Path
) -> tuple[bytes, dict[str, Any]]:
    """Train in a process of its own; the file, and what it was trained with."""
    import msgspec

    from modelyard.training import job

    source = folder / "ml" / "input" / "data" / "job"
    source.mkdir(parents=True)
    (source / job.PLAN).write_bytes(msgspec.json.encode(rows.plan))
    (source / job.TRAINING).write_bytes(rows.training)
    (source / job.EVALUATION).write_bytes(rows.evaluation)
    training = document["training"]
    (source / job.GIVEN).write_bytes(
        msgspec.json.encode({"candidate": training["candidate"], "settings": training["settings"]})
    )
    if own is not None:
        _lay_out_code(own, source / job.CODE)
    layers = _layers(session, own)
    library = str(Path(__file__).parents[2])
    paths = [library, *(str(_unpacked(layer, folder)) for layer in layers)]
    environ = {**os.environ, "MODELYARD_ML_ROOT": str(folder / "ml"), "PYTHONPATH": os.pathsep.join(paths)}
    environ["PYTHONHASHSEED"] = "0"  # as in the function
    # Without site-packages where the layers are there: then nothing of this machine's own comes in.
    flags = ["-S"] if layers else []
    ended = subprocess.run(  # noqa: S603 - this very interpreter and our own module
        [sys.executable, *flags, "-m", "modelyard.training.container"],
        env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    made = folder / "ml" / "model" / job.MODEL
    if ended.returncode or not made.is_file():
        raise ModelyardError(
            f"the training did not end well: {ended.stderr.strip()[-1000:] or 'it wrote no model'}",
            code="training_failed",
            next_step="Run 'modelyard build' to build the training layer, then run the command again.",
        )
    trained = job.read_trained((folder / "ml" / "model" / job.TRAINED).read_bytes())
    return made.read_bytes(), {**trained.environment, **_digests(session, layers, own)}


def _lay_out_code(model: "Model", destination: Path) -> None:
    """Put a model's own code where a job has it: ``python/`` and the notebook, as they are now."""
    if (model.folder / "python").is_dir():
        shutil.copytree(model.folder / "python", destination / "python")
    if model.notebook is not None:
        (destination / model.notebook).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.folder / model.notebook, destination / model.notebook)


def _unpacked(layer: "LayerManifest", folder: Path) -> Path:
    with zipfile.ZipFile(layer.path) as archive:
        archive.extractall(folder / layer.name)
    return folder / layer.name / "python"


def _layers(session: Session, own: "Model | None") -> "list[LayerManifest]":
    """The trainer's libraries as the local environment has them; none unless all are built and not stale.

    Then what is installed here trains.
    """
    from modelyard.environments import LOCAL, choose_environment, load_environments
    from modelyard.errors import BuildError
    from modelyard.packaging import find_layer, training_libraries

    local = choose_environment(load_environments(session.project), LOCAL)
    try:
        return [find_layer(session.project, local, name) for name in training_libraries(own)]
    except BuildError:
        return []


def _digests(session: Session, layers: "list[LayerManifest]", own: "Model | None") -> dict[str, str | None]:
    from modelyard.packaging import lock_digest, training_code_digest

    return {
        "lock_digest": lock_digest(layers) if layers else None,
        "own_digest": None if own is None else training_code_digest(session.project, own.name),
    }


def _environments(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between where a version was trained and where it was trained again, in words."""
    found = [
        f"{what} was {before.get(key)} and is {now.get(key)}"
        for key, what in (("architecture", "the architecture"), ("python", "Python"))
        if before.get(key) != now.get(key)
    ]
    then, here = before.get("libraries") or {}, now.get("libraries") or {}
    found += [
        f"{name} was {then.get(name, 'not there')} and is {here.get(name, 'not there')}"
        for name in sorted({*then, *here})
        if then.get(name) != here.get(name)
    ]
    for key, what in (("lock_digest", "the training layer is"), ("own_digest", "the model's own training code is")):
        if before.get(key) and now.get(key) and before[key] != now[key]:
            found.append(f"{what} another one")
    return found
