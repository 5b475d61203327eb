"""What follows the registry: what its functions hear of, and what their roles may and may not do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.environments import load_environments
from tests.stacks.conftest import PROJECT, Synthesized

KEYS = "dynamodb:LeadingKeys"
WRITES_NOTHING = {"logs:CreateLogStream", "logs:PutLogEvents", "dynamodb:GetItem", "dynamodb:Query"}


def upkeep(synthesized: Synthesized) -> dict[str, Any]:
    return synthesized.template("-Upkeep")["Resources"]  # type: ignore[no-any-return]


def of_kind(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item["Properties"] for item in resources.values() if item["Type"] == kind]


def allowed(synthesized: Synthesized, role: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Action, resource and leading keys of all that the role of this construct may do."""
    policies = [
        item["Properties"]["PolicyDocument"]["Statement"]
        for name, item in upkeep(synthesized).items()
        if item["Type"] == "AWS::IAM::Policy" and name.startswith(role)
    ]
    assert policies
    for statement in (statement for policy in policies for statement in policy):
        assert statement["Effect"] == "Allow"
        conditions = statement.get("Condition", {})
        assert set(conditions) <= {"ForAllValues:StringLike"}
        keys = tuple(conditions.get("ForAllValues:StringLike", {}).get(KEYS, ()))
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield action, json.dumps(resource), keys


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def keys_of(synthesized: Synthesized, role: str, action: str) -> set[str]:
    """The partitions on which the role may do this; every statement that allows it says which."""
    found = [keys for found, _, keys in allowed(synthesized, role) if found == action]
    assert all(found), f"{action} of {role} is allowed on every partition"
    return {key for keys in found for key in keys}


def objects_of(synthesized: Synthesized, role: str, action: str) -> list[str]:
    return [resource for found, resource, _ in allowed(synthesized, role) if found == action]


def test_the_stream_tells_keys_and_nothing_that_a_record_says(synthesized: Synthesized) -> None:
    (table,) = of_kind(synthesized.template("Registry")["Resources"], "AWS::DynamoDB::Table")
    assert table["StreamSpecification"] == {"StreamViewType": "KEYS_ONLY"}


def test_the_function_hears_of_models_and_deployments_only(synthesized: Synthesized) -> None:
    (mapping,) = of_kind(upkeep(synthesized), "AWS::Lambda::EventSourceMapping")
    heard = [json.loads(item["Pattern"]) for item in mapping["FilterCriteria"]["Filters"]]
    assert heard == [{"dynamodb": {"Keys": {"sk": {"S": [kind]}}}} for kind in ("MODEL", "DEPLOYMENT")]
    assert "Stream" in json.dumps(mapping["EventSourceArn"])


def test_a_change_that_fails_is_delivered_again_and_never_lost(synthesized: Synthesized) -> None:
    resources = upkeep(synthesized)
    (mapping,) = of_kind(resources, "AWS::Lambda::EventSourceMapping")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] <= 100
    assert 0 < mapping["MaximumRecordAgeInSeconds"] <= 24 * 3600
    queue, attribute = mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"]
    assert (resources[queue]["Type"], attribute) == ("AWS::SQS::Queue", "Arn")
    sent = objects_of(synthesized, "Stream", "sqs:SendMessage")
    assert sent == [json.dumps({"Fn::GetAtt": [queue, "Arn"]})]


def test_the_stream_function_writes_the_index_and_no_record(synthesized: Synthesized) -> None:
    assert keys_of(synthesized, "Stream", "dynamodb:PutItem") == {"FIND#*", "FILE#*", "VERSIONS#*"}
    assert keys_of(synthesized, "Stream", "dynamodb:DeleteItem") == {"FIND#*"}
    read = {"MODEL#*", "CATALOGUE", "FIND#*", "FILE#*", "VERSIONS#*"}
    assert keys_of(synthesized, "Stream", "dynamodb:GetItem") <= read
    assert keys_of(synthesized, "Stream", "dynamodb:Query") <= read
    others = {action for action, _, _ in allowed(synthesized, "Stream") if action.startswith("dynamodb:")}
    assert others <= {
        "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem",
        "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
    }  # fmt: skip


def test_the_stream_function_writes_pointers_and_no_other_object(synthesized: Synthesized) -> None:
    for action in ("s3:GetObject", "s3:PutObject"):
        (resource,) = objects_of(synthesized, "Stream", action)
        assert "/deployments/*" in resource
    others = {action for action, _, _ in allowed(synthesized, "Stream") if action.startswith("s3:")}
    assert others == {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}


def test_the_report_function_writes_reports_of_sweeps_and_removes_nothing(synthesized: Synthesized) -> None:
    actions = {action for action, _, _ in allowed(synthesized, "Report")}
    assert actions == WRITES_NOTHING | {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutObject"}
    (resource,) = objects_of(synthesized, "Report", "s3:PutObject")
    assert "/sweeps/*" in resource
    assert keys_of(synthesized, "Report", "dynamodb:GetItem") == {"MODEL#*", "CATALOGUE"}
    assert keys_of(synthesized, "Report", "dynamodb:Query") == {"MODEL#*", "CATALOGUE"}


@pytest.mark.parametrize("role", ["Stream", "Report"])
def test_neither_role_names_a_resource_by_a_bare_star(synthesized: Synthesized, role: str) -> None:
    assert [action for action, resource, _ in allowed(synthesized, role) if resource == '"*"'] == []


def test_the_report_comes_by_schedule_and_a_start_that_fails_is_kept(synthesized: Synthesized) -> None:
    (rule,) = of_kind(upkeep(synthesized), "AWS::Events::Rule")
    (target,) = rule["Targets"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(7 days)", "ENABLED")
    assert "Report" in json.dumps(target["Arn"])
    assert "DeadLetterConfig" in target


def test_the_functions_know_the_table_the_bucket_and_the_grace(synthesized: Synthesized) -> None:
    functions = {
        name: item["Properties"]["Environment"]["Variables"]
        for name, item in upkeep(synthesized).items()
        if item["Type"] == "AWS::Lambda::Function"
    }
    for variables in functions.values():
        assert {"MODELYARD_TABLE", "MODELYARD_ARTIFACT_BUCKET"} <= set(variables)
    (report,) = [variables for name, variables in functions.items() if name.startswith("Report")]
    assert int(report["MODELYARD_GRACE_DAYS"]) >= 1


def test_reports_of_sweeps_expire(synthesized: Synthesized) -> None:
    buckets = of_kind(synthesized.template("Registry")["Resources"], "AWS::S3::Bucket")
    rules = [rule for bucket in buckets for rule in bucket["LifecycleConfiguration"]["Rules"]]
    (sweeps,) = [rule for rule in rules if rule.get("Prefix") == "sweeps/"]
    assert sweeps["ExpirationInDays"] > 2 * 7


@pytest.mark.parametrize("prefix", ["captures/", "feedback/"])
def test_what_callers_sent_goes_after_the_days_that_the_environment_says(synthesized: Synthesized, prefix: str) -> None:
    buckets = of_kind(synthesized.template("Registry")["Resources"], "AWS::S3::Bucket")
    rules = [rule for bucket in buckets for rule in bucket["LifecycleConfiguration"]["Rules"]]
    (rule,) = [rule for rule in rules if rule.get("Prefix") == prefix]
    days = load_environments(PROJECT)[synthesized.name].capture_days
    assert (rule["ExpirationInDays"], rule["NoncurrentVersionExpiration"]) == (days, {"NoncurrentDays": days})
