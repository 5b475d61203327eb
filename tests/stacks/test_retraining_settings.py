"""What settings of a training and its triggers add to the stack: this project's model leaves them at their defaults."""

import json
from typing import Any

import pytest

from modelyard.environments import choose_environment, load_environments
from modelyard.spec import load_model
from modelyard.spec_retraining import Trigger
from tests.stacks.conftest import PROJECT


@pytest.fixture(scope="module")
def template(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The retraining stack of a model in dev with an instance, a schedule and an alarm; checked by the rule packs."""
    import stacks  # noqa: F401, I001 - chooses the Node that aws_cdk starts
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks
    from stacks.base import Deployment
    from stacks.registry_stack import RegistryStack
    from stacks.retraining_stack import RetrainingStack

    folder = tmp_path_factory.mktemp("retraining")
    context = json.loads((PROJECT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context={**context, "env": "dev"}, analytics_reporting=False)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    settings = choose_environment(load_environments(PROJECT), "dev")
    deployment = Deployment(project=PROJECT, name="dev", settings=settings)
    model = load_model(PROJECT / "models" / "seattle_weather")
    assert model.spec.training is not None
    training = model.spec.training.model_copy(update={"instance": "ml.m5.xlarge", "timeout_s": 3600})
    triggers = [
        Trigger(),
        Trigger(kind="schedule", cron="0 3 ? * MON *", timezone="Europe/Berlin"),
        Trigger(kind="alarm", alarms=["drift"]),
    ]
    model = model.model_copy(
        update={"spec": model.spec.model_copy(update={"training": training, "triggers": triggers})}
    )
    registry = RegistryStack(app, deployment=deployment)
    RetrainingStack(app, deployment=deployment, model=model, registry=registry)
    app.synth()  # raises when a pack finds something
    (path,) = folder.glob("*Retraining*.template.json")
    found: dict[str, Any] = json.loads(path.read_text())["Resources"]
    return found


def of_type(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item["Properties"] for item in template.values() if item["Type"] == kind]


def test_what_does_not_fit_lambda_is_trained_by_a_job_and_waited_for(template: dict[str, Any]) -> None:
    (machine,) = of_type(template, "AWS::StepFunctions::StateMachine")
    text = json.dumps(machine["DefinitionString"])
    assert "sagemaker:createTrainingJob.sync" in text
    assert "Does it fit Lambda?" in text
    assert "Collect the training's output" in text
    assert "ml.m5.xlarge" in text


def test_the_job_reaches_the_runs_of_its_model_and_nothing_else_in_s3(template: dict[str, Any]) -> None:
    policies = [
        item["PolicyDocument"]["Statement"]
        for item in of_type(template, "AWS::IAM::Policy")
        if "SageMaker" in json.dumps(item["Roles"]) and "lambda" not in json.dumps(item["Roles"]).lower()
    ]
    touched = [
        json.dumps(statement["Resource"])
        for statements in policies
        for statement in statements
        if "s3:PutObject" in json.dumps(statement["Action"])
    ]
    assert touched
    assert [resource for resource in touched if "/runs/seattle_weather/*" not in resource] == []


def test_a_schedule_starts_the_workflow_in_its_time_zone(template: dict[str, Any]) -> None:
    (schedule,) = of_type(template, "AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "cron(0 3 ? * MON *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert '"trigger":"schedule","index":1' in schedule["Target"]["Input"].replace(" ", "")


def test_an_alarm_on_the_bus_starts_the_workflow_for_its_kinds_only(template: dict[str, Any]) -> None:
    patterns = [rule["EventPattern"] for rule in of_type(template, "AWS::Events::Rule")]
    (alarm,) = [pattern for pattern in patterns if pattern.get("source") == ["modelyard"]]
    assert alarm["detail-type"] == ["Drift alarm"]
    assert alarm["detail"] == {"model": ["seattle_weather"]}
