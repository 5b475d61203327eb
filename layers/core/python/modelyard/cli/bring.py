"""Bring a finished model: check the file, look at the sample, register it."""

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from modelyard.cli.session import Session
from modelyard.cli.show import errors, upload_progress
from modelyard.errors import UsageError
from modelyard.spec import Model

if TYPE_CHECKING:
    from modelyard.registry import Registered
    from modelyard.registry.forms import Compiled, Compiler
    from modelyard.version import Signature


def register_artifact(
    session: Session,
    model: Model,
    *,
    artifact: Path | None = None,
    note: str = "",
    sample: Path | None = None,
    accept_breaking: str | None = None,
) -> "Registered":
    """Admit an ONNX file by its content and register it, with the digest of the model's own code.

    Args:
        session: Where to.
        model: Whose version it becomes.
        artifact: The file; None takes the one that the spec names.
        note: One sentence about the version.
        sample: Rows like those of requests, for the contract; None takes the file that the spec names, if it does.
        accept_breaking: Why it may break the callers of the live version.

    Raises:
        UsageError: When there is no file to register, or the sample is none.
        AdmissionError: When the bytes are not a model that would run.
        ConflictError: With code ``breaking_contract``.
    """
    from modelyard.version import Lineage

    spec = model.spec.model
    if artifact is None:
        if spec.artifact is None:
            raise UsageError(
                f"model {model.name!r} is trained here and names no artifact",
                code="no_artifact",
                next_step=f"Give an ONNX file, or run 'modelyard upload {model.name} FILE.csv' to train a version.",
            )
        artifact = model.folder / spec.artifact
    content, signature = admitted(artifact)  # before the first AWS call
    contract = contract_of(model, signature, sample=sample)
    registry = session.registry
    with upload_progress(artifact.name, len(content)) as progress:
        return registry.register(
            model.name,
            content,
            task=spec.task,
            signature=signature,
            contract=contract,
            accept_breaking=accept_breaking,
            lineage=Lineage(code_digest=code_digest(model)),
            compiler=compiler_with_progress(artifact.name, session.project),
            note=note,
            description=spec.description,
            owner=spec.owner,
            tags=spec.tags,
            progress=progress,
        )


def admitted(file: Path) -> "tuple[bytes, Signature]":
    """What an ONNX file holds, as far as it would run.

    Raises:
        UsageError: When there is no such file.
        AdmissionError: When the bytes are not a model that would run.
    """
    from modelyard.admission import admit, check_size

    if not file.is_file():
        raise UsageError(f"{file} is not a file", code="no_file", next_step="Give the path of an ONNX file.")
    check_size(file.stat().st_size)  # before it is read
    content = file.read_bytes()
    return content, admit(content)


def compiler_with_progress(name: str, project: Path) -> "Compiler":
    """The compiler of admitted files, saying that it is at work: small ones take a tenth of a second, 90 MB seven.

    Our own kernels are made first, where there is a C compiler: without them no version would have a form for them.
    """
    from modelyard.compiling.compiler import compile_model
    from modelyard.packaging.native import build_here

    def compiled(content: bytes) -> "Compiled":
        with errors.status(f"compile {escape(name)}"):
            build_here(project)
            return compile_model(content)

    return compiled


def contract_of(model: Model, signature: "Signature", *, sample: Path | None = None) -> dict[str, Any] | None:
    """The contract of a brought model, from a sample and from what the spec says; None when neither says anything.

    Without a contract, a version promises what its signature says, as versions of earlier releases do.

    Raises:
        UsageError: With code ``invalid_sample`` or ``invalid_contract``.
        ModelError: When the model's own ``preprocess`` fails on the sample.
    """
    import msgspec

    from modelyard.contract.document import to_json
    from modelyard.contract.inference import infer
    from modelyard.contract.rules import Rules
    from modelyard.spec import contract_rules

    if sample is None and model.spec.contract.sample is not None:
        sample = model.folder / model.spec.contract.sample
    rules = msgspec.convert(contract_rules(model.spec), Rules)
    _check_names(rules.fields, signature)
    if sample is None and not rules.fields:
        return None
    arrays = {} if sample is None else _arrays_in(sample, model, signature)
    return to_json(infer(arrays, signature.inputs, rules))


def _check_names(fields: dict[str, Any], signature: "Signature") -> None:
    from modelyard.toml import dotted, nearest

    known = [tensor.name for tensor in signature.inputs]
    unknown = next((name for name in fields if name not in known), None)
    if unknown is not None:
        key = dotted(("contract", "fields", unknown))
        raise UsageError(
            f"{key} of model.toml is no input of the ONNX file; {nearest(unknown, known)}",
            code="invalid_contract",
            field=key,
            next_step="Correct the name in model.toml.",
        )


def _arrays_in(sample: Path, model: Model, signature: "Signature") -> dict[str, Any]:
    from modelyard.contract.sample import FEW_ROWS, arrays_of, instances_in, refused

    if not sample.is_file():
        raise UsageError(f"{sample} is not a file", code="no_file", next_step="Give the path of a sample.")
    package = model.spec.model.code
    if package is not None and sample.suffix == ".csv":
        raise refused(f"{sample.name} is a CSV file; what {package} takes is not known column by column")
    instances = instances_in(sample.read_bytes(), signature.inputs, name=sample.name)
    if len(instances) < FEW_ROWS:
        errors.print(
            f"[yellow]note:[/] {escape(sample.name)} has {len(instances)} rows; ranges and categories from fewer than "
            f"{FEW_ROWS} are guesses",
            soft_wrap=True,
        )
    arrays = None if package is None else _preprocessed(model, package, instances, signature)
    return arrays_of(instances, signature.inputs) if arrays is None else arrays


def _preprocessed(model: Model, package: str, instances: list[Any], signature: "Signature") -> dict[str, Any] | None:
    """What the model's own code makes of the sample: a contract is about what the graph gets."""
    from modelyard.predictor.arrays import to_numpy
    from modelyard.predictor.code import ModelCode
    from modelyard.predictor.signature import Tensor

    folder = str(model.code_folder)
    sys.path.insert(0, folder)
    try:
        code = ModelCode.load(package)
        if code.preprocess is None:
            return None
        inputs = tuple(Tensor(spec.name, spec.dtype, spec.shape) for spec in signature.inputs)
        made = code.arrays(inputs, instances)
        return {tensor.name: to_numpy(array) for tensor, array in zip(inputs, made, strict=True)}
    finally:
        sys.path.remove(folder)


def code_digest(model: Model) -> str | None:
    """SHA-256 of a model's own code: its Python files with their names; None when it has none."""
    if model.code_folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(model.code_folder.rglob("*.py")):
        name, content = path.relative_to(model.code_folder).as_posix().encode(), path.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()
