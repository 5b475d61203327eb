"""``modelyard up`` and ``down``: the whole system on this machine, and its first models.

After the deployment, everything goes through the deployed system as an IAM user without administrator rights, just as
a user in the cloud would: upload, register, promote, signed calls. Each step looks at what is there first, so running
it again changes nothing that is up to date, and running it after a crash goes on where it stopped.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.bring import register_artifact
from modelyard.cli.local_users import keys_of_user, write_private
from modelyard.cli.look import check_pointer
from modelyard.cli.models import brief, later, promotion_of, refusal, send_file
from modelyard.cli.runs import RunNotStartedError, wait_for_run
from modelyard.cli.servers import on_sagemaker, start_servers, stop_servers
from modelyard.cli.session import CREDENTIALS_FILE, Session
from modelyard.cli.show import Step, errors, out, table
from modelyard.errors import ConflictError, ModelyardError, NotFoundError, UsageError
from modelyard.spec import Model

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients
    from modelyard.registry import Registry

DEVELOPER = "developer"
BOOTSTRAP_STACK = "CDKToolkit"
STACKS_OF_A_MODEL = (stack_names.retraining_stack, stack_names.rollout_stack, stack_names.endpoint_stack)
"""In the order in which they can be deleted: each uses what those after it export."""
FOUND = {
    "running": "running already",
    "started": "started with the state of the last time",
    "fresh": "started for the first time",
    "restored": "was killed; back to the last saved state",
    "rebuilt": "was killed before it saved anything; starts again from nothing",
}


def up(context: typer.Context) -> None:
    """Start the local AWS, deploy the app to it, and bring every model to its first answer."""
    session: Session = context.obj
    if not session.settings.is_local:
        raise UsageError(
            f"'up' is for the local environment; {session.name!r} is in the cloud",
            next_step=f"Run 'cdk deploy --all -c env={session.name}'.",
        )
    models = session.models  # a broken spec ends it here, before anything starts
    with _only_one(session.home):
        _bring_up(session, models)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """One 'up' at a time; a second terminal waits for the first."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            errors.print("[yellow]note:[/] another 'modelyard up' is running; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bring_up(session: Session, models: list[Model]) -> None:
    with Step("Local AWS") as step:
        found = session.local_aws.start()
        step.outcome = f"{FOUND[found]} at {session.local_aws.endpoint}"
    changed = _deploy(session)
    changed |= _remove_stacks_without_model(session, models)
    _make_developer(session)
    _serve(session, models)
    failed: dict[str, str] = {}
    for model in models:
        changed |= _bring_to_life(session, model, failed)
    refused: list[ModelyardError] = []
    rows = [_ask(session, model, refused) for model in models]
    if changed:
        with Step("Save the local AWS") as step:
            # It saves when it ends, and a kill loses what was not saved.
            session.local_aws.stop()
            session.local_aws.start()
            step.outcome = "stopped and started: a kill from now on loses nothing of this"
    out.print()
    table("Models", ["model", "live", "versions", "first answer"], rows)
    _show_next(session, models)
    if failed:
        (name, reason), *others = failed.items()
        more = f"; so did that of {', '.join(other for other, _ in others)}" if others else ""
        raise ModelyardError(
            f"the training of {name} failed, and nothing of it is live: {reason}{more}",
            code="training_failed",
            next_step=f"Run 'modelyard logs {name} --step all', then 'make up' again.",
        )
    if refused:
        raise refused[0]


def down(
    context: typer.Context,
    forget: Annotated[bool, typer.Option("--forget", help="Delete everything that the local AWS holds.")] = False,
) -> None:
    """Stop the local AWS; its state is kept for the next 'up' unless --forget."""
    session: Session = context.obj
    if stop_servers(session):
        with Step("Stop the model server") as step:
            step.outcome = "stopped"
    with Step("Stop the local AWS") as step:
        if forget:
            session.local_aws.forget()
            step.outcome = "stopped; its state is deleted"
        else:
            step.outcome = "stopped; its state is saved" if session.local_aws.stop() else "was not running"


def _serve(session: Session, models: list[Model]) -> None:
    """The server of models on SageMaker, for which a process stands in here; none where there are none."""
    ours = on_sagemaker(models)
    if not ours:
        stop_servers(session)
        return
    with Step("Model server") as step:
        step.outcome = start_servers(session, ours, _root(session))


def _root(session: Session) -> "Clients":
    from modelyard.aws.clients import Clients
    from modelyard.local.emulator import ROOT_ACCESS_KEY, ROOT_SECRET_KEY

    return Clients(
        region=session.settings.region,
        endpoint_url=session.local_aws.endpoint,
        access_key=ROOT_ACCESS_KEY,
        secret_key=ROOT_SECRET_KEY,
    )


def _deploy(session: Session) -> bool:
    """Bootstrap if needed, then the real ``cdk deploy``; whether any stack changed."""
    from modelyard.local.cdk import Cdk
    from modelyard.packaging.progress import REMARKS

    remarks: list[str] = []

    def report(line: str) -> None:
        step.doing(line)
        if line.startswith(REMARKS):
            remarks.append(line)

    cloudformation = _root(session).client("cloudformation")
    cdk = Cdk(
        project=session.project,
        endpoint=session.local_aws.endpoint,
        region=session.settings.region,
        port=session.local_aws.port,
        output=session.home / "cdk.out",
    )
    before = _stacks(cloudformation)
    if BOOTSTRAP_STACK not in before:
        with Step("cdk bootstrap") as step:
            cdk.bootstrap(step.doing)
    with Step("cdk deploy --all") as step:
        cdk.deploy(report)
        after = _stacks(cloudformation)
        changed = sorted(name for name, state in after.items() if before.get(name) != state and name != BOOTSTRAP_STACK)
        step.outcome = f"{len(changed)} of {len(after) - 1} stacks changed" if changed else "nothing changed"
    for remark in remarks:  # of the build: nobody reads the log of what went well
        errors.print(escape(remark), soft_wrap=True, highlight=False)
    return bool(changed)


def _remove_stacks_without_model(session: Session, models: list[Model]) -> bool:
    """Delete the stacks of models whose folder is gone; the registry keeps their versions and ledger.

    CDK deploys what the app holds and forgets what it no longer holds. That a model's traffic moved in steps before,
    and now does not, leaves a stack as well.
    """
    cloudformation = _root(session).client("cloudformation")
    ours = {stack(session.name, model.name) for model in models for stack in _stacks_of(model)}
    there = sorted(name for name in _stacks(cloudformation) if name not in ours)
    left = [name for stack in STACKS_OF_A_MODEL for name in there if name.startswith(stack(session.name, ""))]
    if not left:
        return False
    with Step("Remove stacks") as step:
        for name in left:
            step.doing(name)
            cloudformation.delete_stack(StackName=name)
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
            )
        step.outcome = f"that no model has any more: {', '.join(left)}"
    return True


def _stacks_of(model: Model) -> Iterator[Callable[[str, str], str]]:
    yield stack_names.endpoint_stack
    if model.spec.training is not None:
        yield stack_names.retraining_stack
    if model.spec.rollout.mode == "gradual":
        yield stack_names.rollout_stack


def _stacks(cloudformation: Any) -> dict[str, str]:
    """Stacks that exist, with what changes when they are deployed."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    return {
        stack["StackName"]: f"{stack['StackId']} {stack.get('LastUpdatedTime', '')}"
        for page in pages
        for stack in page["Stacks"]
    }


def _make_developer(session: Session) -> None:
    """An IAM user with the policies that a developer in the cloud would have, and keys in the state folder."""
    iam = _root(session).client("iam")
    path = session.home / "aws" / CREDENTIALS_FILE
    outputs = [_outputs(session, name) for name in (stack_names.registry_stack, stack_names.api_stack)]
    policies = [
        outputs[0][stack_names.OPERATOR_POLICY],
        outputs[0][stack_names.SWEEP_POLICY],
        outputs[0][stack_names.REPLAY_POLICY],
        outputs[1][stack_names.CONTROL_POLICY],
        outputs[1][stack_names.INVOKE_POLICY],
    ]
    access_key, secret_key = keys_of_user(iam, DEVELOPER, path)
    # For `curl -K`: the secret stays out of the shell's history and of the process list.
    write_private(path.with_name("curl"), f'user = "{access_key}:{secret_key}"\n')
    attached = iam.list_attached_user_policies(UserName=DEVELOPER)["AttachedPolicies"]
    for policy in policies:
        if policy not in [found["PolicyArn"] for found in attached]:
            iam.attach_user_policy(UserName=DEVELOPER, PolicyArn=policy)


def _outputs(session: Session, stack: Any) -> dict[str, str]:
    answer = _root(session).client("cloudformation").describe_stacks(StackName=stack(session.name))
    return {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0].get("Outputs", [])}


def _bring_to_life(session: Session, model: Model, failed: dict[str, str]) -> bool:
    """A first version for a model that has none live; whether anything was done.

    A training that fails ends nothing: why goes into ``failed``, under the model's name, and the next model has its
    turn.
    """
    registry = session.registry
    deployment = registry.deployment(model.name)
    if model.spec.training is None:
        with Step(f"Register {model.name}") as step:
            registered = register_artifact(session, model)
            number = registered.version.number
            if deployment is None:
                registry.promote(model.name, number, reason="first version")
                step.outcome = f"version {number} registered and made champion"
            else:
                step.outcome = f"version {number} {'registered' if registered.created else 'is up to date'}"
                if number != deployment.champion:
                    step.outcome += f"; version {deployment.champion} stays live until you run: "
                    step.outcome += promotion_of(session, model, number)
            return registered.created or deployment is None
    if deployment is not None:
        return False
    files = model.training_files()
    if not files:
        errors.print(f"[yellow]note:[/] {model.name} has no training file in {model.spec.training.data}/ yet")
        return False
    # All of them before any is waited for: the runs of those that come together are one training.
    sent = [send_file(session, model.name, model.spec.upload_prefix, file) for file in files]
    title = f"Train {model.name} on {files[0].name if len(files) == 1 else f'{len(files)} files'}"
    try:
        run = wait_for_run(session, model.name, *sent[0], title=title)
    except RunNotStartedError:
        # An event that was on its way when the emulator was killed is gone; the next upload sends another.
        again = send_file(session, model.name, model.spec.upload_prefix, files[0])
        run = wait_for_run(session, model.name, *again, title=title)
    if run.status == "failed":
        failed[model.name] = run.reason
    return True


def _ask(session: Session, model: Model, refused: list[ModelyardError]) -> list[Any]:
    """One signed request with the model's example, and a row of the closing table.

    An example that is refused ends nothing: why goes into ``refused``, and the next model has its turn.
    """
    from modelyard.aws.signed import ask

    registry, name = session.registry, model.name
    registry.index(name)  # a change that the stream held when the emulator was killed is lost
    deployment, url = registry.deployment(name), session.predict_url(name)
    if deployment is not None:
        try:
            check_pointer(registry, name, deployment.revision)
        except ConflictError as ahead:  # only here, where the emulator loses what was not saved
            errors.print(f"[yellow]note:[/] {escape(ahead.message)}; the table is taken", soft_wrap=True)
            registry.publish_pointer(name, even_back=True)
    versions = _newest(registry, name)
    if deployment is None or model.spec.model.example is None:
        return [name, deployment.champion if deployment else "none", versions, "", url]
    body = json.loads((model.folder / model.spec.model.example).read_text(encoding="utf-8"))
    with Step(f"Ask {name}") as step:
        answer = ask(session.clients, url, body, waiting=lambda waited_s: step.doing(later(waited_s)))
        if answer.status != 200:
            refused.append(_refused_example(model, answer.status, answer.body))
            step.is_failed, step.outcome = True, refused[-1].message
            return [name, deployment.champion, versions, "refused", url]
        first = brief(answer.body["predictions"][0])
        step.outcome = f"version {answer.body['version']} says {first}"
    return [name, answer.body["version"], versions, first, url]


def _refused_example(model: Model, status: int, body: Any) -> ModelyardError:
    error = refusal(status, body)
    error.message = f"{model.name} did not answer its example: {error.message}"
    if error.next_step is None:
        example = _shown(model.folder / str(model.spec.model.example))
        put_right = (
            f"Put a request that works into {example}" if status in (400, 422) else f"Run 'modelyard logs {model.name}'"
        )
        error.next_step = f"{put_right}, then run 'make up' again."
    return error


def _newest(registry: "Registry", name: str) -> int:
    try:
        newest = next(iter(registry.versions(name, limit=1).items), None)
    except NotFoundError:  # the gate rejected its first training, say
        return 0
    return newest.number if newest else 0


def _show_next(session: Session, models: list[Model]) -> None:
    """Commands that would work now, in an order that tells a story."""
    live = [model for model in models if session.registry.deployment(model.name) is not None]
    new = next(((model, file) for model in live if (file := _not_uploaded(session, model))), None)
    asked = next((model for model in live if model.spec.model.example), None)
    out.print("\n[bold]Try next[/]  (put .venv/bin on PATH, or write .venv/bin/modelyard)")
    if new is not None:
        out.print(f"  modelyard upload {new[0].name} {_shown(new[1])}")
    told = new[0] if new else next((model for model in live if model.spec.training), None)
    if told is not None:
        out.print(f"  modelyard history {told.name}")
        if new is not None or _has_predecessor(session, told.name):
            out.print(f"  modelyard rollback {told.name} --reason 'trying it out'")
    if asked is not None:
        example = _shown(asked.folder / str(asked.spec.model.example))
        keys = _shown(session.home / "aws" / "curl")
        out.print(f"  modelyard predict {asked.name}")
        out.print(
            escape(
                f"  curl -K {keys} --aws-sigv4 aws:amz:{session.settings.region}:execute-api "
                f"-H content-type:application/json -d @{example} {session.predict_url(asked.name)}"
            ),
            soft_wrap=True,
        )
    out.print("  modelyard status")


def _not_uploaded(session: Session, model: Model) -> Path | None:
    """The first training file in the model's folder whose rows no run has accepted yet."""
    if model.spec.training is None:
        return None
    known = {file.sha256 for file in session.registry.dataset_files(model.name)}
    files = [*model.training_files(), *sorted(model.folder.glob("*/*.csv"))]
    return next((file for file in files if hashlib.sha256(file.read_bytes()).hexdigest() not in known), None)


def _has_predecessor(session: Session, name: str) -> bool:
    changes = (entry for entry in session.registry.history(name, limit=20).items if entry.revision is not None)
    last = next(changes, None)
    return last is not None and last.kind == "promoted" and last.previous is not None


def _shown(path: Path) -> str:
    """A path as short as it can be for somebody who stands where the command was run."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
