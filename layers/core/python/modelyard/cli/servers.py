"""What ``up`` and ``down`` do for models on SageMaker: their server on this machine, and who it is in the local AWS."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from modelyard import async_keys, stack_names
from modelyard.cli.local_users import keys_of_user
from modelyard.cli.session import Session
from modelyard.endpoint_keys import read_keys, written_keys
from modelyard.endpoint_variables import server_variables
from modelyard.errors import LocalError
from modelyard.local.servers import LocalServers
from modelyard.names import name_problem
from modelyard.spec import Model
from modelyard.times import parse_stamp

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients

SERVER = "server"
"""The IAM user that the server is, in the place of its execution role; and its step of ``modelyard logs``."""

POLICY = "server"
CREDENTIALS = "server.json"


def servers_of(session: Session) -> LocalServers:
    """The process of this project."""
    port = session.settings.server_port
    assert port is not None  # noqa: S101 - only the local environment gets here
    return LocalServers(home=session.home / "servers", port=port)


def on_sagemaker(models: Iterable[Model]) -> list[Model]:
    """Those whose endpoint is not a function."""
    return [model for model in models if model.spec.kind is not None]


def start_servers(session: Session, models: list[Model], root: "Clients") -> str:
    """Have them served; what was found, for people.

    Args:
        session: Of the command.
        models: Those on SageMaker, at least one.
        root: Makes the IAM user.
    """
    outputs = session.outputs(stack_names.registry_stack(session.name))
    bucket = outputs[stack_names.ARTIFACT_BUCKET]
    access_key, secret_key = _keys(session, root, bucket, models)
    servers = servers_of(session)
    found = servers.start(
        endpoints(session.name, models, bucket),
        {
            "AWS_ENDPOINT_URL": session.local_aws.endpoint,
            "AWS_REGION": session.settings.region,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "PYTHONPATH": ":".join(str(model.code_folder) for model in models if model.code_folder is not None),
        },
    )
    names = ", ".join(model.name for model in models)
    return f"{'running already' if found == 'running' else found} at {servers.endpoint}, for {names}"


def endpoints(environment: str, models: list[Model], bucket: str) -> dict[str, Any]:
    """The endpoints, as the process reads them: one for each model, or for the models of one host."""

    def name(model: Model) -> str:
        spec = model.spec
        assert spec.kind is not None  # noqa: S101 - only models on SageMaker get here
        return stack_names.sagemaker_endpoint(environment, spec.kind, model=model.name, host=spec.endpoint.host)

    found: dict[str, Any] = {}
    for endpoint, grouped in groupby(sorted(models, key=lambda model: (name(model), model.name)), key=name):
        (first, *others) = grouped
        kind = first.spec.kind
        assert kind is not None  # noqa: S101 - as above
        entry: dict[str, Any] = {
            "target": first.spec.endpoint.target,
            "environment": {**server_variables([first, *others], kind), "MODELYARD_ARTIFACT_BUCKET": bucket},
        }
        if kind == "async":
            entry["output"] = f"s3://{bucket}/{async_keys.output_prefix(first.name)}"
            entry["failure"] = f"s3://{bucket}/{async_keys.failure_prefix(first.name)}"
        found[endpoint] = entry
    return found


def stop_servers(session: Session) -> bool:
    """End the process; whether it was running."""
    return servers_of(session).stop()


def serves_here(session: Session, name: str) -> bool:
    """Whether a model's endpoint is the process on this machine."""
    model = session.model_here(name) if session.settings.is_local and name_problem(name) is None else None
    return model is not None and model.spec.kind is not None


def server_lines(session: Session, name: str, *, since_ms: int) -> Iterator[tuple[int, str]]:
    """What the process has written about a model: milliseconds since the epoch, and the line."""
    log = servers_of(session).log
    if not log.exists():
        return
    with log.open(errors="replace") as lines:
        for line in lines:
            try:
                said = json.loads(line)
                about = said.get("model") == name or name in said.get("models", ())
                at = int(parse_stamp(said["time"]).timestamp() * 1000)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a library's, without a time
            if about and at >= since_ms:
                yield at, line.rstrip()


def check_servers(session: Session) -> str:
    """For ``doctor``: whether the process runs, where there is a model for it.

    Raises:
        LocalError: When it does not.
    """
    ours = on_sagemaker(session.models)
    if not ours:
        return "no model is on SageMaker"
    servers = servers_of(session)
    if not servers.is_running():
        raise LocalError(
            f"the server of {', '.join(model.name for model in ours)} does not run",
            code="not_running",
            next_step=f"Run 'make up'; its log is {servers.log}.",
        )
    return servers.endpoint


def _keys(session: Session, root: "Clients", bucket: str, models: list[Model]) -> tuple[str, str]:
    """Access key and secret of an IAM user that may do what an execution role may, and nothing else."""
    iam = root.client("iam")
    keys = keys_of_user(iam, SERVER, session.home / "servers" / CREDENTIALS)
    iam.put_user_policy(UserName=SERVER, PolicyName=POLICY, PolicyDocument=json.dumps(_policy(bucket, models)))
    return keys


def _policy(bucket: str, models: list[Model]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": [f"arn:aws:s3:::{bucket}/{key}" for key in keys]}
            for action, keys in (("s3:GetObject", read_keys(models)), ("s3:PutObject", written_keys(models)))
        ]
        + [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}],
    }
