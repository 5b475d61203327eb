"""What the stacks mean to say, asserted on their templates."""

import json
from typing import Any

import pytest

from modelyard.control.routes import MODEL_ROUTES, ROUTES
from tests.stacks.conftest import PROJECT, Synthesized


def test_every_route_asks_for_iam_authorization(synthesized: Synthesized) -> None:
    routes = [route["Properties"] for _, _, route in synthesized.resources("AWS::ApiGatewayV2::Route")]
    assert {route["AuthorizationType"] for route in routes} == {"AWS_IAM"}
    keys = {route["RouteKey"] for route in routes}
    assert keys == {f"{method} {path}" for method, path in (*ROUTES, *MODEL_ROUTES)} | {
        f"{method} {path.replace('{name}', model)}"
        for method, path in MODEL_ROUTES
        for model in (spec.parent.name for spec in PROJECT.glob("models/*/model.toml"))
    }


def test_api_gateway_may_invoke_a_function_for_its_own_routes_only(synthesized: Synthesized) -> None:
    permissions = [item["Properties"] for _, _, item in synthesized.resources("AWS::Lambda::Permission")]
    from_api = [item for item in permissions if item["Principal"] == "apigateway.amazonaws.com"]
    assert from_api
    for item in from_api:
        assert "SourceArn" in item
        assert not json.dumps(item["SourceArn"]).endswith('/*/*"]]}'), item


def test_an_endpoint_can_read_its_own_pointer_and_write_nothing_but_captures_and_labels(
    synthesized: Synthesized,
) -> None:
    template = synthesized.template("Endpoint-digits")
    policies = [item for item in template["Resources"].values() if item["Type"] == "AWS::IAM::Policy"]
    assert len(policies) == 1
    actions = set()
    for statement in policies[0]["Properties"]["PolicyDocument"]["Statement"]:
        found = statement["Action"]
        actions |= set(found if isinstance(found, list) else [found])
    assert actions == {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "logs:CreateLogStream", "logs:PutLogEvents"}
    statements = policies[0]["Properties"]["PolicyDocument"]["Statement"]
    (put,) = [json.dumps(statement) for statement in statements if statement["Action"] == "s3:PutObject"]
    assert "/captures/digits/*" in put
    assert "/feedback/digits/*" in put
    assert "artifacts/" not in put
    text = json.dumps(policies)
    assert "deployments/digits.json" in text
    assert "seattle_weather" not in text


def test_training_cannot_touch_the_registry_and_other_models(synthesized: Synthesized) -> None:
    template = synthesized.template("Retraining-seattle-weather")
    policies = {
        name: json.dumps(item["Properties"]["PolicyDocument"])
        for name, item in template["Resources"].items()
        if item["Type"] == "AWS::IAM::Policy"
    }
    (train,) = [text for name, text in policies.items() if "TrainRole" in name]
    assert "dynamodb:PutItem" not in train
    assert "artifacts/sha256" not in train
    assert "digits" not in json.dumps(policies)


def test_retraining_reaches_only_its_own_models_items(synthesized: Synthesized) -> None:
    template = synthesized.template("Retraining-seattle-weather")
    seen = 0
    for name, item in template["Resources"].items():
        if item["Type"] != "AWS::IAM::Policy":
            continue
        for statement in item["Properties"]["PolicyDocument"]["Statement"]:
            if "dynamodb:" in json.dumps(statement["Action"]):
                seen += 1
                keys = json.dumps(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
                assert "MODEL#seattle_weather" in keys, name
                assert "digits" not in keys, name
    assert seen == 8


def test_code_of_a_model_travels_as_a_layer_of_its_own(synthesized: Synthesized) -> None:
    layers = {
        stack: [item["Properties"]["Description"] for item in body["Resources"].values()
                if item["Type"] == "AWS::Lambda::LayerVersion"]
        for stack, body in synthesized.templates.items()
    }  # fmt: skip
    (digits,) = [found for stack, found in layers.items() if stack.endswith("Endpoint-digits")]
    (weather,) = [found for stack, found in layers.items() if stack.endswith("Endpoint-seattle-weather")]
    assert any("model-digits" in description for description in digits)
    assert not any("model-" in description for description in weather)


def test_the_workflow_reads_like_its_story(synthesized: Synthesized) -> None:
    states = _definition(synthesized)["States"]
    for state in (
        "Claim the trigger",
        "Validate the data",
        "Take a turn",
        "Prepare the data",
        "Train the candidates",
        "Evaluate against the champion",
        "Register the version",
        "Make it the champion",
        "Record the rejection",
        "Record the failure",
    ):
        assert state in states


def test_every_task_has_a_timeout_and_retries_only_what_passes(synthesized: Synthesized) -> None:
    tasks = {name: state for name, state in _definition(synthesized)["States"].items() if state["Type"] == "Task"}
    assert len(tasks) >= 12
    for name, task in tasks.items():
        assert task["TimeoutSeconds"] > 0, name
        retried = {error for retry in task["Retry"] for error in retry["ErrorEquals"]}
        assert retried, name
        assert "States.ALL" not in retried, name
        # What records an end has no other end to go to; and one task ends the run, with the error that it had.
        if not name.startswith(("Record", "Failed")):
            assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_a_promotion_that_came_too_late_is_compared_again(synthesized: Synthesized) -> None:
    states = _definition(synthesized)["States"]
    for step, asked in (
        ("Make it the champion", "Is the champion the same?"),
        ("Register the version", "Do its callers stay?"),
    ):
        assert states[step]["Next"] == asked
        (changed,) = states[asked]["Choices"]
        assert changed["Next"] == "Evaluate against the champion"
        assert changed["And"][1]["StringEquals"] == "conflict"


def _definition(synthesized: Synthesized) -> dict[str, Any]:
    resources = synthesized.template("Retraining-seattle-weather")["Resources"].values()
    (machine,) = [item for item in resources if item["Type"] == "AWS::StepFunctions::StateMachine"]
    parts = machine["Properties"]["DefinitionString"]["Fn::Join"][1]
    document: dict[str, Any] = json.loads("".join(part if isinstance(part, str) else "REF" for part in parts))
    return document


def test_an_upload_that_cannot_start_its_run_goes_to_a_dead_letter_queue(synthesized: Synthesized) -> None:
    rules = [rule for stack, _, rule in synthesized.resources("AWS::Events::Rule") if "Retraining" in stack]
    assert rules
    for rule in rules:
        (target,) = rule["Properties"]["Targets"]
        assert "DeadLetterConfig" in target
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 86400


@pytest.mark.parametrize("ending", ["Registry"])
def test_prod_keeps_what_cannot_be_made_again(prod: Synthesized, ending: str) -> None:
    template = prod.template(ending)
    for name, item in template["Resources"].items():
        if item["Type"] in {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup"}:
            assert item["DeletionPolicy"] == "Retain", name
    (table,) = [item for item in template["Resources"].values() if item["Type"] == "AWS::DynamoDB::Table"]
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_buckets_in_the_cloud_refuse_plain_http(synthesized: Synthesized) -> None:
    policies = [json.dumps(item) for _, _, item in synthesized.resources("AWS::S3::BucketPolicy")]
    refusing = [text for text in policies if "aws:SecureTransport" in text]
    expected = 0 if synthesized.name == "local" else 3
    assert len(refusing) == expected


def test_alarms_exist_where_the_environment_asks_for_them(synthesized: Synthesized) -> None:
    alarms = list(synthesized.resources("AWS::CloudWatch::Alarm"))
    assert bool(alarms) == (synthesized.name != "local")
    for _, logical_id, alarm in alarms:
        if "NewVersion" not in logical_id:  # CodeDeploy looks at those while it releases code
            assert alarm["Properties"]["AlarmActions"], logical_id


def test_alarms_and_events_may_reach_the_people_they_are_for(synthesized: Synthesized) -> None:
    (policy,) = [item for _, _, item in synthesized.resources("AWS::SNS::TopicPolicy")]
    allowed = {
        statement["Principal"]["Service"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert allowed == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}


def test_the_error_alarm_watches_what_the_audit_line_counts(prod: Synthesized) -> None:
    from modelyard.serving import audit

    (alarm,) = [
        item["Properties"]
        for stack, name, item in prod.resources("AWS::CloudWatch::Alarm")
        if "ErrorRate" in name and "digits" in stack
    ]
    watched = [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]
    (answered,) = [metric for metric in watched if metric["Namespace"] == audit.NAMESPACE]
    assert answered["MetricName"] in audit.METRICS
    assert answered["Dimensions"] == [{"Name": "model", "Value": "digits"}]


def test_one_stack_stays_far_below_cloudformations_limits(synthesized: Synthesized) -> None:
    for stack, body in synthesized.templates.items():
        assert len(body["Resources"]) < 250, stack
        assert len(json.dumps(body)) < 500_000, stack
