"""What settings of an endpoint add to its stack: the models of this project leave them at their defaults."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.environments import choose_environment, load_environments
from modelyard.serving.trial_settings import TrialSettings, redacted_inputs
from modelyard.spec import EndpointSection, load_model
from modelyard.spec_rollout import MonitoringSection, RolloutSection
from tests.stacks.conftest import PROJECT, Synthesized


@pytest.fixture(scope="module")
def synth(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the template of one endpoint, and what the rule packs find in it."""
    import stacks  # noqa: F401, I001 - chooses the Node that aws_cdk starts
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks
    from stacks.api_stack import ApiStack
    from stacks.base import Deployment
    from stacks.endpoint_stack import EndpointStack
    from stacks.registry_stack import RegistryStack

    def made(
        environment: str,
        *,
        capture: float = 0.0,
        snap_start: bool = False,
        app_name: str | None = None,
        redact: list[str] | None = None,
        timeout_s: int = 10,
        rollout: dict[str, Any] | None = None,
        code_release: str | None = None,
    ) -> tuple[dict[str, Any], list[str]]:
        folder = tmp_path_factory.mktemp("endpoint")
        context = json.loads((PROJECT / "cdk.json").read_text())["context"]
        app = App(outdir=str(folder), context={**context, "env": environment}, analytics_reporting=False)
        Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
        settings = choose_environment(load_environments(PROJECT), environment)
        settings = settings.model_copy(update={"code_release": code_release})
        deployment = Deployment(project=PROJECT, name=environment, settings=settings)
        model = load_model(PROJECT / "models" / "digits")
        spec = model.spec.model_copy(
            update={
                "model": model.spec.model.model_copy(update={"app": app_name}),
                "endpoint": model.spec.endpoint.model_copy(update={"snap_start": snap_start, "timeout_s": timeout_s}),
                "monitoring": model.spec.monitoring.model_copy(update={"capture": capture, "redact": redact or []}),
                "rollout": model.spec.rollout.model_copy(update=rollout or {}),
            }
        )
        model = model.model_copy(update={"spec": spec})
        registry = RegistryStack(app, deployment=deployment)
        api = ApiStack(app, deployment=deployment, registry=registry, models=[model])
        EndpointStack(app, deployment=deployment, model=model, registry=registry, api=api)
        app.synth()  # raises when a pack finds something
        (path,) = folder.glob("*Endpoint-digits.template.json")
        return json.loads(path.read_text())["Resources"], _statements(path)

    return made


def _statements(path: Path) -> list[str]:
    """Every S3 action of the endpoint's role with what it is on."""
    resources = json.loads(path.read_text())["Resources"].values()
    (policy,) = [item["Properties"]["PolicyDocument"] for item in resources if item["Type"] == "AWS::IAM::Policy"]
    return [f"{item['Action']} {json.dumps(item['Resource'])}" for item in policy["Statement"]]


def _function(resources: dict[str, Any]) -> dict[str, Any]:
    (found,) = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::Lambda::Function"]
    return found


def test_an_app_is_another_function_with_routes_of_its_own_for_iam(synth: Any) -> None:
    resources, _ = synth("dev", app_name="digits_model.web:app")
    function = _function(resources)
    assert function["Handler"] == "app.handler"
    assert function["Environment"]["Variables"]["MODELYARD_APP"] == "digits_model.web:app"
    assert "MODELYARD_BASE_PATH" not in function["Environment"]["Variables"]
    assert len(function["Layers"]) == 4
    routes = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::ApiGatewayV2::Route"]
    assert {"ANY /models/digits/app", "ANY /models/digits/app/{proxy+}", "POST /models/digits/predict"} <= {
        route["RouteKey"] for route in routes
    }
    assert {route["AuthorizationType"] for route in routes} == {"AWS_IAM"}
    assert len({json.dumps(route["Target"]) for route in routes}) == 1


def test_without_an_app_there_is_no_route_for_one(synth: Any) -> None:
    resources, _ = synth("dev")
    assert _function(resources)["Handler"] == "predict.handler"
    assert "MODELYARD_APP" not in _function(resources)["Environment"]["Variables"]
    assert "/app" not in json.dumps(resources)


def test_the_local_app_is_told_what_its_callers_have_in_front_of_its_routes(synth: Any) -> None:
    resources, _ = synth("local", app_name="digits_model.web:app")
    path = json.dumps(_function(resources)["Environment"]["Variables"]["MODELYARD_BASE_PATH"])
    assert '"/_aws/execute-api/"' in path
    assert '"/live"' in path


def test_who_may_call_models_may_call_their_apps(synthesized: Synthesized) -> None:
    policies = [item["Properties"] for _, _, item in synthesized.resources("AWS::IAM::ManagedPolicy")]
    (invoke,) = [policy for policy in policies if "predict" in json.dumps(policy)]
    allowed = json.dumps(invoke)
    assert "/*/*/models/*/app" in allowed
    assert "/*/*/models/*/app/*" in allowed


def test_capture_may_write_below_the_models_own_prefix_and_nowhere_else(synth: Any) -> None:
    resources, statements = synth("dev", capture=0.25)
    assert _function(resources)["Environment"]["Variables"]["MODELYARD_CAPTURE"] == "0.25"
    (put,) = [statement for statement in statements if "Put" in statement and "s3:" in statement]
    assert put.startswith("s3:PutObject ")
    assert "/captures/digits/*" in put
    assert "/feedback/digits/*" in put
    assert "artifacts/sha256" not in put


def test_without_capture_a_trial_may_write_below_the_same_prefix(synth: Any) -> None:
    resources, statements = synth("dev")
    variables = _function(resources)["Environment"]["Variables"]
    assert {name for name in variables if name.startswith("MODELYARD_")} == {
        "MODELYARD_MODEL", "MODELYARD_ARTIFACT_BUCKET", "MODELYARD_REFRESH_S", "MODELYARD_ENGINE", "MODELYARD_CODE",
    }  # fmt: skip
    (put,) = [statement for statement in statements if "Put" in statement and "s3:" in statement]
    assert "/captures/digits/*" in put


def test_without_any_capture_labels_alone_may_be_written(synth: Any) -> None:
    _, statements = synth("dev", rollout={"capture": 0.0})
    (put,) = [statement for statement in statements if "s3:Put" in statement]
    assert "/feedback/digits/*" in put
    assert "captures/" not in put


def test_labels_have_a_route_of_their_own_behind_iam(synth: Any) -> None:
    resources, _ = synth("dev")
    routes = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::ApiGatewayV2::Route"]
    (feedback,) = [route for route in routes if route["RouteKey"] == "POST /models/digits/feedback"]
    (predict,) = [route for route in routes if route["RouteKey"] == "POST /models/digits/predict"]
    assert feedback["AuthorizationType"] == "AWS_IAM"
    assert feedback["Target"] == predict["Target"]


def test_an_endpoint_is_told_what_its_trials_need(synth: Any) -> None:
    rollout = {"routing": "header:x-session", "capture": 0.5, "shadow_budget_ms": 50.0, "shadow_budget_mb": 64.0}
    resources, _ = synth("dev", redact=["name", "a, b"], timeout_s=20, rollout=rollout)
    variables = _function(resources)["Environment"]["Variables"]
    settings = TrialSettings.read(variables)
    assert {name: getattr(settings, name) for name in TrialSettings.__slots__} == {
        "routing": "header:x-session", "capture": 0.5, "budget_ms": 50.0, "budget_mb": 64.0, "timeout_s": 20.0,
    }  # fmt: skip
    assert redacted_inputs(variables) == {"name", "a, b"}


def test_what_an_endpoint_is_not_told_is_the_specs_default() -> None:
    assumed, rollout = TrialSettings.read({}), RolloutSection()
    assert assumed.routing == rollout.routing
    assert assumed.capture == rollout.capture
    assert (assumed.budget_ms, assumed.budget_mb) == (rollout.shadow_budget_ms, rollout.shadow_budget_mb)
    assert assumed.timeout_s == EndpointSection().timeout_s
    assert redacted_inputs({}) == frozenset(MonitoringSection().redact)


def test_snap_start_is_on_the_versions_that_the_alias_points_to(synth: Any) -> None:
    resources, _ = synth("dev", snap_start=True)
    assert _function(resources)["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    (alias,) = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::Lambda::Alias"]
    assert alias["FunctionVersion"]["Fn::GetAtt"][1] == "Version"


def test_the_local_environment_ignores_snap_start(synth: Any) -> None:
    resources, _ = synth("local", snap_start=True)
    assert "SnapStart" not in _function(resources)


def test_snap_start_and_a_release_in_steps_go_together(synth: Any) -> None:
    resources, _ = synth("dev", snap_start=True, code_release="linear_10_percent_every_3_minutes")
    (group,) = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::CodeDeploy::DeploymentGroup"]
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes"
    assert _function(resources)["SnapStart"] == {"ApplyOn": "PublishedVersions"}


def test_all_at_once_takes_no_codedeploy_also_where_there_are_alarms(synth: Any) -> None:
    resources, _ = synth("dev", code_release="all_at_once")
    assert [item for item in resources.values() if item["Type"] == "AWS::CloudWatch::Alarm"]
    assert not [item for item in resources.values() if "CodeDeploy" in item["Type"]]
    (alias,) = [item for item in resources.values() if item["Type"] == "AWS::Lambda::Alias"]
    assert not {"UpdatePolicy", "DependsOn"} & alias.keys()
