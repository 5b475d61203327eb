"""Commands about one model: register, upload, predict, versions, history, promote, rollback."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard.cli.arguments import Metric, parse_bounds
from modelyard.cli.bring import register_artifact
from modelyard.cli.runs import wait_for_run
from modelyard.cli.session import Session
from modelyard.cli.show import errors, moment, out, print_json, table, upload_progress, who
from modelyard.deployment import shares_of, told
from modelyard.errors import AWSError, ConflictError, ModelyardError, SpecError, UsageError
from modelyard.names import check_text
from modelyard.ports import Page
from modelyard.times import parse_stamp, utc_now

if TYPE_CHECKING:
    from modelyard.deployment import Deployment
    from modelyard.spec import Model

Name = Annotated[str, typer.Argument(help="The model's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Operation = Annotated[
    str | None, typer.Option("--operation", help="An id of this change; repeated with it, it is made only once.")
]
ExpectedRevision = Annotated[
    int | None, typer.Option("--expected-revision", min=0, help="Refuse if the deployment changed meanwhile.")
]
SECOND_ROLLBACK_S = 300
"""For how long a second plain rollback by the same person is taken for a repetition of the first."""
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the ledger.")]
AcceptBreaking = Annotated[
    str | None,
    typer.Option(
        "--accept-breaking", metavar="REASON", help="Why it may break callers of the live version, for the ledger."
    ),
]


def register(
    context: typer.Context,
    name: Name,
    artifact: Annotated[
        Path | None, typer.Argument(help="An ONNX file; default: the one that model.toml names.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion as well.")] = False,
    reason: Reason = "",
    note: Annotated[str, typer.Option("--note", help="One sentence about this version.")] = "",
    sample: Annotated[
        Path | None,
        typer.Option("--sample", help="Rows like those of requests (.csv, .json, .jsonl), for the version's contract."),
    ] = None,
    accept_breaking: AcceptBreaking = None,
    as_json: AsJson = False,
) -> None:
    """Register a finished ONNX file as the next version; the same file again is the same version."""
    session: Session = context.obj
    model = session.model(name)
    if promote:
        check_reason(session, reason)
    registered = register_artifact(
        session, model, artifact=artifact, note=note, sample=sample, accept_breaking=accept_breaking
    )
    version = registered.version
    promoted = promote and promote_registered(
        session, name, version.number, reason=reason or "registered with --promote"
    )
    if as_json:
        print_json({"model": name, "version": version.number, "created": registered.created, "promoted": promoted})
        return
    what = "registered" if registered.created else "was registered before, as"
    out.print(f"{escape(name)}: {what} version [bold]{version.number}[/] (sha256 {version.manifest.digest[:12]}…)")
    show_promotion(session, name, version.number, promote=promote, promoted=promoted)


def show_promotion(session: Session, name: str, number: int, *, promote: bool, promoted: bool) -> None:
    """Say that a version is live, or that its rollout has begun, or how it becomes live."""
    if promoted:
        out.print(f"version {number} is the champion")
        return
    if promote:
        out.print(f"its rollout has begun\n  [dim]next:[/] modelyard rollout status {escape(name)} --watch")
        return
    deployment = session.registry.deployment(name)
    if deployment is not None and deployment.champion == number:
        out.print(f"version {number} is the champion already")
    else:
        out.print(f"  next: {escape(promotion_of(session, session.model(name), number))}")


def promotion_of(session: Session, model: "Model", number: int) -> str:
    """The command that makes a version live, or begins what does."""
    if _goes_in_steps(session, model):
        return f"modelyard rollout start {model.name} {number} --reason '…'"
    return f"modelyard promote {model.name} {number} --reason '…'"


def promote_registered(session: Session, name: str, number: int, *, reason: str) -> bool:
    """Make a version the champion after its registration; one that is live already is what was asked for.

    Returns:
        Whether it is the champion. It is not yet where the model's spec has its traffic move in steps: then its rollout
        has begun.
    """
    try:
        if _goes_in_steps(session, session.model(name)):
            from modelyard.cli.rollout import begin

            begin(session, name, number, reason=reason)
            return False
        session.registry.promote(name, number, reason=reason)
    except ConflictError as conflict:
        if conflict.code != "already_live":
            raise
    return True


def _goes_in_steps(session: Session, model: "Model") -> bool:
    """Whether a version needs a rollout to become the champion; a model's first one has nothing to be compared with."""
    return model.spec.rollout.mode == "gradual" and session.registry.deployment(model.name) is not None


def upload(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="A CSV file with new training rows.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run that the file starts.")] = True,
    as_json: AsJson = False,
) -> None:
    """Upload training data; its arrival starts the retraining workflow."""
    session: Session = context.obj
    model = session.model(name)
    if model.spec.training is None:
        raise UsageError(
            f"model {name!r} is not trained here; it is brought as {model.spec.model.artifact!r}",
            code="not_trained",
            next_step=f"Run 'modelyard register {name}' for a new version of the file.",
        )
    key, version_id = send_file(session, name, model.spec.upload_prefix, file)
    if not wait:
        if as_json:
            print_json({"model": name, "key": key, "version_id": version_id})
        return
    run = wait_for_run(session, name, key, version_id)
    if as_json:
        print_json(
            {"model": name, "run_id": run.run_id, "status": run.status, "reason": run.reason, "version": run.version}
        )
    elif run.status != "failed":
        out.print(f"{escape(name)}: run {run.run_id} [bold]{run.status}[/]: {escape(run.reason)}")
    if run.status == "failed":
        raise ModelyardError(
            f"run {run.run_id} failed: {run.reason}", next_step=f"Run 'modelyard logs {name} --step all'."
        )


def send_file(session: Session, name: str, prefix: str, file: Path) -> tuple[str, str]:
    """Check a training file and put it into the data bucket; return the object's key and version id."""
    from modelyard.spec import training_plan
    from modelyard.training.plan import decode_plan
    from modelyard.training.table import check_upload

    if not file.is_file():
        raise UsageError(f"{file} is not a file", code="no_file", next_step="Give the path of a CSV file.")
    suffixes = tuple({suffix for _, suffix in session.model(name).spec.upload_places})
    if not file.name.endswith(suffixes):
        raise UsageError(
            f"{file.name} would start no run: [[triggers]] of {name} ask for {' or '.join(suffixes)}",
            code="no_trigger",
            next_step="Rename the file, or change the suffix in model.toml and deploy.",
        )
    content = file.read_bytes()
    # A look at the file before the first AWS call: what is wrong with it alone is said here, at once.
    found = check_upload(decode_plan(training_plan(session.model(name).spec)), content, name=file.name)
    if not found.rows:
        raise UsageError(
            f"{file.name} was not uploaded:\n  " + "\n  ".join(found.findings),
            code="invalid_data",
            next_step="Correct the file and upload it again.",
        )
    for remark in (*found.findings, *found.remarks):
        errors.print(f"[yellow]note:[/] {escape(remark)}", soft_wrap=True)
    key, digest = f"{prefix}{file.name}", hashlib.sha256(content).hexdigest()
    with upload_progress(file.name, len(content)) as progress:
        version_id = session.uploads.put(key, file, sha256=digest, progress=progress)
    return key, version_id


def predict(
    context: typer.Context,
    name: Name,
    instances: Annotated[
        str | None, typer.Argument(help="JSON instances, or @FILE; default: the example that model.toml names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send one signed request to a model's endpoint and show the answer."""
    from modelyard.aws.signed import ask

    session: Session = context.obj
    body = _instances(session, name, instances)
    with errors.status("") as status:
        answer = ask(session.clients, session.predict_url(name), body, waiting=lambda s: status.update(later(s)))
    if answer.status != 200:
        raise refusal(answer.status, answer.body)
    if as_json:
        print_json(answer.body)
        return
    out.print(f"{escape(name)} version [bold]{answer.body['version']}[/]  prediction {answer.body['prediction_id']}")
    for instance, prediction in zip(body["instances"], answer.body["predictions"], strict=True):
        out.print(f"  {escape(brief(instance))} → [bold]{escape(brief(prediction))}[/]", soft_wrap=True)
    for warning in answer.body.get("warnings", ()):
        errors.print(f"[yellow]warning:[/] {escape(warning['detail'])}", soft_wrap=True)


def later(seconds: float) -> str:
    """What is said while an answer that comes later is waited for."""
    return f"the endpoint answers later; waited for {seconds:.0f} s"


def refusal(status: int, body: Any) -> ModelyardError:
    """An endpoint's problem JSON as an error of the command line."""
    problem = body if isinstance(body, dict) else {}
    said = problem.get("detail") or problem.get("message") or problem.get("title") or str(body)[:300]
    kind = ConflictError if status == 409 else UsageError if status < 500 else ModelyardError
    if status in (401, 403):
        from modelyard.errors import CredentialsError

        return CredentialsError(f"{status}: {said}", next_step="Use credentials that may call this model.")
    return kind(f"the endpoint answered {status}: {said}", code=problem.get("code"), next_step=problem.get("next_step"))


def brief(value: Any) -> str:
    """A value on one line, with numbers to four digits, cut where it gets long; for people, not for programs."""
    text = value if isinstance(value, str) else json.dumps(_rounded(value))
    return text if len(text) <= 100 else f"{text[:97]}…"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _instances(session: Session, name: str, instances: str | None) -> dict[str, Any]:
    if instances is None:
        model = session.model(name)
        if model.spec.model.example is None:
            raise UsageError(
                f"models/{name}/model.toml names no example", code="no_example", next_step="Give instances as JSON."
            )
        text = (model.folder / model.spec.model.example).read_text(encoding="utf-8")
    elif instances.startswith("@"):
        text = _text_in(instances[1:])
    else:
        text = instances
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the instances are not JSON: {error}", code="invalid_json") from error
    if isinstance(document, list):
        document = {"instances": document}
    if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
        raise UsageError('give a JSON list of instances, or {"instances": [...]}', code="invalid_json")
    return document


def _text_in(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as broken:
        raise UsageError(f"{file!a} is not UTF-8 at byte {broken.start}", code="invalid_json") from broken
    except (FileNotFoundError, IsADirectoryError) as missing:
        raise UsageError(f"{file!a} is not a file", code="no_file") from missing


def versions(
    context: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most this many.")] = 20,
    bound: Metric = None,
    as_json: AsJson = False,
) -> None:
    """List a model's versions, newest first; with --metric those within a bound, best matching end first."""
    import msgspec

    session: Session = context.obj
    bounds = None if bound is None else parse_bounds(bound)
    session.registry.model(name)
    if bounds is None:
        page = session.registry.versions(name, limit=limit)
    else:
        within = session.registry.versions_where(name, bounds, limit=limit)
        page = Page(tuple(session.registry.version(name, found.number) for found in within.items), within.next)
    deployment = session.registry.deployment(name)
    if as_json:
        print_json([msgspec.to_builtins(version) for version in page.items])
        return
    champion = deployment.champion if deployment else None
    model = session.model_here(name) if bounds is None else None
    evaluation = None if model is None else model.spec.evaluation
    metric = bounds.metric if bounds else evaluation.metric if evaluation else ""
    table(
        f"{name}: versions",
        ["version", "", "made", "by", metric or "metric", "sha256"],
        [
            [
                version.number,
                "champion" if version.number == champion else "",
                moment(version.created_at),
                who(version.author),
                f"{version.manifest.metrics[metric]:.4g}" if metric in version.manifest.metrics else "",
                version.manifest.digest[:12],
                _origin(version),
            ]
            for version in page.items
        ],
    )
    if page.next:
        out.print(f"  there are more: --limit {limit * 2}")


def _origin(version: Any) -> str:
    lineage = version.manifest.lineage
    if lineage.source == "brought":
        return f"imported from {lineage.imported_from}" if lineage.imported_from else "brought"
    return "trained on " + ", ".join(found.key.rsplit("/", 1)[-1] for found in lineage.objects)


def history(
    context: typer.Context,
    name: Name,
    at: Annotated[str | None, typer.Option("--at", help="What was live at a time, like 2026-03-01T12:00:00Z.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most this many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, when and why; or what was live at a time."""
    import msgspec

    session: Session = context.obj
    if at is not None:
        session.registry.model(name)
        deployment = session.registry.deployment_at(name, at)
        if as_json:
            print_json(None if deployment is None else told(deployment))
        elif deployment is None:
            out.print(f"{escape(name)}: nothing was live at {escape(at)}")
        else:
            out.print(
                f"{escape(name)} at {escape(at)}: version [bold]{deployment.champion}[/] "
                f"(revision {deployment.revision}, since {moment(deployment.changed_at)}, "
                f"by {who(deployment.changed_by)})"
            )
        return
    page = session.registry.history(name, limit=limit)
    if as_json:
        print_json([msgspec.to_builtins(entry) for entry in page.items])
        return
    table(
        f"{name}: history",
        ["when (UTC)", "what", "version", "by"],
        [
            [moment(entry.at), entry.kind.replace("_", " "), entry.version, who(entry.actor), entry.reason]
            for entry in page.items
        ],
    )


def promote(
    context: typer.Context,
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version's number.")],
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion; endpoints follow within their refresh time."""
    session: Session = context.obj
    check_reason(session, reason)
    with repeatable(operation) as identified:
        deployment = session.registry.promote(
            name, version, reason=reason, expected_revision=expected_revision, operation=identified
        )
    show_deployment(session, deployment, as_json)


def rollback(
    context: typer.Context,
    name: Name,
    to: Annotated[int | None, typer.Option("--to", min=1, help="An earlier champion; default: the one before.")] = None,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Put the previous champion back; endpoints follow within their refresh time."""
    session: Session = context.obj
    check_reason(session, reason)
    if to is None and expected_revision is None and operation is None:
        _refuse_a_second_rollback(session, name)
    with repeatable(operation) as identified:
        deployment = session.registry.rollback(
            name, to=to, reason=reason, expected_revision=expected_revision, operation=identified
        )
    show_deployment(session, deployment, as_json)


@contextmanager
def repeatable(operation: str | None) -> Iterator[str]:
    """An id for a change, and what to do with it when the answer is lost: the same id is never applied twice."""
    identified = uuid.uuid4().hex if operation is None else operation
    again = f"the same command with --operation {identified}: a change that was made is recognised, not made again"
    try:
        yield identified
    except AWSError as error:
        if error.code != "pointer_behind":
            error.next_step = f"Run {again}."
        raise
    except KeyboardInterrupt:
        errors.print(f"[yellow]note:[/] the change may have been made; to find out, run {again}", soft_wrap=True)
        raise


def _refuse_a_second_rollback(session: Session, name: str) -> None:
    """The same command again, because the first one's answer was lost or somebody was impatient, goes no further back.

    Raises:
        ConflictError: With code ``rolled_back_just_now``.
    """
    registry = session.registry
    deployment = registry.deployment(name)
    last = next((entry for entry in registry.history(name, limit=20).items if entry.revision is not None), None)
    if deployment is None or last is None or (last.kind, last.actor) != ("rolled_back", session.actor):
        return
    seconds = (utc_now() - parse_stamp(last.at)).total_seconds()
    if seconds > SECOND_ROLLBACK_S:
        return
    registry.publish_pointer(name)  # should the first one have died before
    raise ConflictError(
        f"you rolled {name} back to version {last.version} {max(0, int(seconds))} s ago; the same command would go "
        "further back",
        code="rolled_back_just_now",
        next_step=f"Nothing to do; if you mean it, run 'modelyard rollback {name} --to VERSION'.",
    )


def show_deployment(session: Session, deployment: "Deployment", as_json: bool) -> None:
    """What is live after a change, and what is on trial beside it."""
    if as_json:
        print_json(told(deployment))
        return
    try:
        model = session.model_here(deployment.model)
    except SpecError:
        model = None  # the change was made, and is to be said, whatever is in the folder
    refresh = model.spec.endpoint.refresh_s if model else None
    within = f"; endpoints follow within {refresh} s" if refresh else ""
    out.print(
        f"{escape(deployment.model)}: version [bold]{deployment.champion}[/] is live "
        f"(revision {deployment.revision}){within}"
    )
    for number, share in shares_of(deployment).items():
        if number == deployment.champion:
            continue
        how = f"answers {share} % of the requests" if deployment.mode == "canary" else "answers as well, unseen"
        out.print(f"  on trial: version [bold]{number}[/] {how}")


def check_reason(session: Session, reason: str) -> None:
    """Before any AWS call: what the ledger would refuse, and an environment may ask why."""
    check_text(reason, field="reason")
    if session.settings.require_reason and not reason.strip():
        raise UsageError(
            f"environment {session.name!r} asks for a reason", code="reason_required", next_step="Add --reason '…'."
        )
