"""``modelyard export``: gather what belongs to a version and write it into a folder that stands alone."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from modelyard.cli.arguments import REFERENCE, find_version, parse_reference
from modelyard.cli.bring import code_digest
from modelyard.cli.session import Session
from modelyard.cli.show import out, print_json

if TYPE_CHECKING:
    from modelyard.exporting.code import OwnCode
    from modelyard.spec import Model
    from modelyard.version import Version


def export(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help=f"{REFERENCE}.")],
    folder: Annotated[
        Path | None,
        typer.Argument(help="The folder to make; default: NAME-VERSION here. An earlier export is replaced."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write a version into a folder that runs with onnxruntime alone: model, card, manifest, script, checksums."""
    from modelyard.card import card_of, gather
    from modelyard.exporting.folder import Content, check_bytes, folder_files
    from modelyard.exporting.writing import check_target, write_folder
    from modelyard.times import stamp, utc_now

    session: Session = context.obj
    wanted = parse_reference(reference)
    if folder is not None:
        check_target(folder.resolve())  # before anything is fetched
    version = find_version(session.registry, wanted)
    name, number = version.manifest.model, version.number
    target = (folder or Path(f"{name}-{number}")).resolve()
    check_target(target)
    stored = session.registry.artifacts.get(version.manifest.key)
    body = check_bytes(version, None if stored is None else stored.body)
    model = session.model_here(name)
    code, remarks = _own_code(version, model)
    example, remark = _example(version, model, code)
    content = Content(
        version=version,
        model=body,
        card=card_of(gather(session.registry, version, at=stamp(utc_now()))),
        example=example,
        code=code,
        remarks=[*remarks, *remark],
        requirements=[
            f"onnxruntime=={importlib.metadata.version('onnxruntime')}",
            "numpy>=2",
            *(code.needs if code else ()),
        ],
    )
    files = folder_files(content)
    write_folder(target, files)
    if as_json:
        found = {"model": name, "version": number, "folder": str(target), "files": sorted(files)}
        print_json({**found, "remarks": list(content.remarks)})
        return
    shown = folder or target.name
    out.print(f"{escape(name)} version [bold]{number}[/]: {len(files)} files in {escape(str(shown))}", soft_wrap=True)
    for remark_ in content.remarks:
        out.print(f"[yellow]note:[/] {escape(remark_)}", soft_wrap=True)
    out.print(f"  next: python {escape(str(shown))}/predict.py{'' if example else ' FILE.json'}", soft_wrap=True)


def _own_code(version: "Version", model: "Model | None") -> "tuple[OwnCode | None, list[str]]":
    """The model's own code when it is what the version was registered with, and else a remark."""
    from modelyard.exporting.code import read_own_code

    lineage = version.manifest.lineage
    if lineage.source != "brought" or lineage.code_digest is None:
        return None, []  # what is trained here has all of it in the ONNX file
    package = None if model is None else model.spec.model.code
    if model is None or model.code_folder is None or package is None:
        found = "this project has none"
    elif (digest := code_digest(model)) != lineage.code_digest:
        found = f"that of this project is another (digest {str(digest)[:12]})"
    else:
        code = read_own_code(package, model.code_folder)
        listed = ", ".join(code.unnamed)
        return code, [f"the version's digest does not cover {listed} beside its code."] if listed else []
    return None, [
        f"the model's own code (digest {lineage.code_digest[:12]}) is not here, because {found}. predict.py asks the "
        "bare model: it takes other inputs and answers in another form than the endpoint."
    ]


def _example(version: "Version", model: "Model | None", code: "OwnCode | None") -> tuple[bytes | None, list[str]]:
    """The first request that the project names, when the version takes it."""
    if model is None or model.spec.model.example is None:
        return None, []
    name = model.spec.model.example
    body = (model.folder / name).read_bytes()
    problem = _misfit(version, body, has_code=code is not None)
    if problem is not None:
        return None, [f"{name} of this project is left out, because this version does not take it: {problem}."]
    return body, []


def _misfit(version: "Version", body: bytes, *, has_code: bool) -> str | None:
    """Why a version does not take a request; what its own code takes is not known."""
    import json

    from modelyard.errors import RequestError
    from modelyard.predictor.arrays import encode
    from modelyard.predictor.signature import Tensor

    try:
        document = json.loads(body)
    except ValueError:
        return "it is not JSON"
    instances = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(instances, list) or not instances:
        return "it has no instances"
    try:
        if not has_code:
            inputs = version.manifest.signature.inputs
            encode(tuple(Tensor(found.name, found.dtype, found.shape) for found in inputs), instances)
    except RequestError as problem:
        return problem.message
    return None
