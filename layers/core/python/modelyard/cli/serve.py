"""``modelyard serve``: the plain server in the foreground, for one model on this machine.

A version that is named, or a file, is put into a folder that looks like the artifact bucket, so nothing else is needed
while it runs. Without one the server follows the model's pointer, as an endpoint does.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.session import Session
from modelyard.cli.show import errors
from modelyard.errors import LocalError, UsageError

if TYPE_CHECKING:
    from modelyard.pointer import Target
    from modelyard.spec import Model

STOP_S = 30.0
"""Longest wait for the server to drain."""


def serve(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="{name}[:{version}]", help="The model, and a version; else the live one.")
    ],
    model: Annotated[
        Path | None, typer.Option("--model", help="An ONNX file in its place, which needs no registration.")
    ] = None,
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65_535, help="On 127.0.0.1.")] = 8080,
    workers: Annotated[int, typer.Option("--workers", min=0, max=256, help="Processes; 0: by processors.")] = 1,
) -> None:
    """Serve a model on this machine until Ctrl-C: the same server as on SageMaker, without SageMaker."""
    session: Session = context.obj
    name, number = _named(name)
    if model is not None and number is not None:
        raise UsageError("a version and --model exclude each other", next_step="Leave one of them out.")
    known = session.model(name)
    _check_port(port)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-serve-")))
        if model is not None or number is not None:
            target, body = _from_file(known, model) if model is not None else _registered(session, name, number or 0)
            _fill(folder, name, target, body)
            place = {"MODELYARD_ARTIFACT_FOLDER": str(folder)}
            what = f"{model}" if model is not None else f"{name} version {number}"
        else:
            place = _bucket(session)
            what = f"{name}, whichever version is live"
        errors.print(f"[green]serving[/] {escape(what)} at http://127.0.0.1:{port}  (Ctrl-C ends it)", soft_wrap=True)
        errors.print(
            f"  POST /models/{name}/predict · POST /v2/models/{name}/infer · POST /invocations · GET /metrics",
            soft_wrap=True,
        )
        _run({**_variables(known), **place}, port=port, workers=workers)


def _check_port(port: int) -> None:
    """Before anything says that it serves.

    Raises:
        LocalError: When nobody can listen there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: one that has just ended
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(
                f"cannot listen on port {port} of 127.0.0.1: {(error.strerror or str(error)).lower()}",
                code="port_taken",
                next_step="Stop the program that listens there, or name another port with --port.",
            ) from error


def _named(text: str) -> tuple[str, int | None]:
    name, colon, number = text.partition(":")
    if not colon:
        return name, None
    if not number.isdecimal() or int(number) < 1:
        raise UsageError(
            f"version {number[:40]!a} is not a number from 1 on",
            code="invalid_version",
            next_step=f"Name one like {name}:3; 'modelyard versions {name}' lists them.",
        )
    return name, int(number)


def _registered(session: Session, name: str, number: int) -> "tuple[Target, bytes]":
    import msgspec

    from modelyard.deployment import Deployment
    from modelyard.exporting.folder import check_bytes
    from modelyard.pointer import pointer_for

    version = session.registry.version(name, number)
    stored = session.registry.artifacts.get(version.manifest.key)
    body = check_bytes(version, None if stored is None else stored.body)
    deployment = Deployment(model=name, champion=number, revision=1, changed_at=version.created_at, changed_by="")
    target = pointer_for(deployment, {number: version}).champion
    return msgspec.structs.replace(target, forms=()), body  # compiled forms are for starts that cost money


def _from_file(model: "Model", file: Path) -> "tuple[Target, bytes]":
    """A file, as it would be registered: admitted, and with the contract that the spec gives it."""
    import hashlib

    from modelyard.cli.bring import admitted, contract_of
    from modelyard.pointer import Target

    body, signature = admitted(file)
    digest = hashlib.sha256(body).hexdigest()
    target = Target(
        version=1,
        digest=digest,
        key=f"artifacts/sha256/{digest}/model.onnx",
        size=len(body),
        signature=signature,
        contract=contract_of(model, signature),
    )
    return target, body


def _fill(folder: Path, name: str, target: "Target", body: bytes) -> None:
    from modelyard.pointer import Pointer, encode_pointer
    from modelyard.pointer_key import pointer_key
    from modelyard.times import stamp, utc_now

    pointer = Pointer(model=name, revision=1, mode="live", split=0, updated_at=stamp(utc_now()), champion=target)
    for key, content in ((target.key, body), (pointer_key(name), encode_pointer(pointer))):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)


def _bucket(session: Session) -> dict[str, str]:
    """Where the live version is, and as whom to read it; credentials that expire end with it."""
    bucket = session.outputs(stack_names.registry_stack(session.name))[stack_names.ARTIFACT_BUCKET]
    found = session.clients.session.get_credentials()
    if found is None:  # pragma: no cover - the outputs could not have been read
        raise UsageError("there are no AWS credentials", next_step="Set AWS_PROFILE.")
    keys = found.get_frozen_credentials()
    endpoint = session.clients.endpoint_url
    return {
        "MODELYARD_ARTIFACT_BUCKET": bucket,
        "AWS_REGION": session.settings.region,
        "AWS_ACCESS_KEY_ID": keys.access_key or "",
        "AWS_SECRET_ACCESS_KEY": keys.secret_key or "",
        **({} if keys.token is None else {"AWS_SESSION_TOKEN": keys.token}),
        **({} if endpoint is None else {"AWS_ENDPOINT_URL": endpoint}),
    }


def _variables(model: "Model") -> dict[str, str]:
    from modelyard.endpoint_variables import server_variables

    spec = model.spec  # one model, whoever shares its endpoint elsewhere
    alone = model.model_copy(
        update={"spec": spec.model_copy(update={"endpoint": spec.endpoint.model_copy(update={"host": None})})}
    )
    said = server_variables([alone], alone.spec.kind or "realtime")
    own = model.code_folder
    return {**said, **({} if own is None else {"PYTHONPATH": str(own)})}


def _run(variables: dict[str, str], *, port: int, workers: int) -> None:
    paths = [variables.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
        "MODELYARD_ARTIFACT_BUCKET": "folder",
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MODELYARD_SERVER_HOST": "127.0.0.1",
        "MODELYARD_SERVER_PORT": str(port),
        "MODELYARD_SERVER_WORKERS": str(workers),
    }
    server = subprocess.Popen([sys.executable, "-m", "modelyard.server"], env=environment, start_new_session=True)
    try:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        ended = server.wait()
    except KeyboardInterrupt:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_S)
        ended = 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    if ended > 0:
        raise typer.Exit(ended)
