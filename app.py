"""The CDK app, as a table of contents: environments, models, stacks in the order data flows.

``cdk deploy --all -c env=local|dev|prod``. The environment is read here and nowhere below.
"""

import sys
from pathlib import Path

from stacks.api_stack import ApiStack
from stacks.base import Deployment
from stacks.endpoint_stack import EndpointStack
from stacks.registry_stack import RegistryStack
from stacks.retraining_stack import RetrainingStack
from stacks.rollout_stack import RolloutStack
from stacks.sagemaker_host_stack import SageMakerHostStack, hosts_of
from stacks.upkeep_stack import UpkeepStack

from aws_cdk import App  # isort: skip - stacks/__init__.py chooses the Node that this import starts

from modelyard.environments import choose_environment, load_environments
from modelyard.errors import ModelyardError
from modelyard.release_override import CONTEXT, parse_override
from modelyard.spec import load_models
from modelyard.times import utc_now


def build_app(app: App, project: Path) -> App:
    """Add every stack of one environment to ``app``."""
    environments, models = load_environments(project), load_models(project / "models")
    name = str(app.node.try_get_context("env") or "local")
    settings = choose_environment(environments, name)
    deployment = Deployment(project=project, name=name, settings=settings)
    override = parse_override(
        app.node.try_get_context(CONTEXT),
        environment=name,
        settings=settings,
        models=[model.name for model in models],
        now=utc_now(),
    )

    registry = RegistryStack(app, deployment=deployment, models=models)
    UpkeepStack(app, deployment=deployment, registry=registry)
    api = ApiStack(app, deployment=deployment, registry=registry, models=models)
    hosts = {
        host: SageMakerHostStack(
            app, deployment=deployment, host=host, models=sharing, registry=registry, override=override
        )
        for host, sharing in hosts_of(models).items()
        if not settings.is_local
    }
    for model in models:
        host = hosts.get(model.spec.endpoint.host or "")
        endpoint = EndpointStack(
            app,
            deployment=deployment,
            model=model,
            registry=registry,
            api=api,
            override=override,
            host=None if host is None else host.server,
        )
        rollout = None
        if model.spec.rollout.mode == "gradual":
            rollout = RolloutStack(app, deployment=deployment, model=model, registry=registry, endpoint=endpoint)
        if model.spec.training is not None:
            RetrainingStack(app, deployment=deployment, model=model, registry=registry, rollout=rollout)
    return app


if __name__ == "__main__":
    try:
        build_app(App(), Path(__file__).parent).synth()
    except ModelyardError as error:
        sys.exit(f"modelyard: {error.message}" + (f"\n  next: {error.next_step}" if error.next_step else ""))
