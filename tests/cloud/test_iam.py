"""IAM is enforced: who may call, and what each function can and cannot do."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.conftest import PROJECT, System
from tests.cloud.signing import request

DIGITS = json.loads((PROJECT / "models" / "digits" / "example.json").read_text())


@pytest.fixture
def stranger(system: System) -> Any:
    """An IAM user whom nobody granted anything."""
    iam = system.client("iam")
    iam.create_user(UserName="stranger")
    key = iam.create_access_key(UserName="stranger")["AccessKey"]
    yield {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    iam.delete_access_key(UserName="stranger", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="stranger")


def _status(system: System, method: str, path: str, body: Any = None, **credentials: Any) -> int:
    return request(method, system.url(path), body, **credentials)[0]


def test_an_unsigned_call_gets_403(system: System) -> None:
    assert _status(system, "POST", "/models/digits/predict", DIGITS) == 403
    assert _status(system, "GET", "/models") == 403


def test_a_caller_without_a_grant_gets_403(system: System, stranger: dict[str, str]) -> None:
    assert _status(system, "POST", "/models/digits/predict", DIGITS, credentials=stranger) == 403
    assert _status(system, "GET", "/models", credentials=stranger) == 403


def test_a_wrong_signature_gets_403(system: System) -> None:
    forged = {**system.developer, "aws_secret_access_key": "wrong"}
    assert _status(system, "POST", "/models/digits/predict", DIGITS, credentials=forged) == 403


def test_a_caller_of_models_gets_no_further_than_the_models(system: System, stranger: dict[str, str]) -> None:
    iam, policy = system.client("iam"), system.outputs("Api")["InvokePolicy"]
    iam.attach_user_policy(UserName="stranger", PolicyArn=policy)
    try:
        assert _status(system, "POST", "/models/digits/predict", DIGITS, credentials=stranger) == 200
        for action in ("promote", "rollback", "versions", "uploads"):
            assert _status(system, "POST", f"/models/digits/{action}", {"version": 1}, credentials=stranger) == 403
        assert _status(system, "GET", "/models", credentials=stranger) == 403
    finally:
        iam.detach_user_policy(UserName="stranger", PolicyArn=policy)


def _denied(call: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException", "403"}


def test_the_predict_role_reads_its_model_and_writes_nothing(system: System) -> None:
    names = system.outputs("Registry")
    bucket, table = names["ArtifactBucket"], names["RegistryTable"]
    keys = system.role_credentials(system.outputs("Endpoint-digits")["PredictFunction"])
    s3, dynamodb = system.client("s3", **keys), system.client("dynamodb", **keys)
    assert s3.get_object(Bucket=bucket, Key="deployments/digits.json")["Body"].read()
    _denied(s3.get_object, Bucket=bucket, Key="deployments/seattle_weather.json")
    _denied(s3.put_object, Bucket=bucket, Key="deployments/digits.json", Body=b"{}")
    _denied(s3.put_object, Bucket=bucket, Key="artifacts/sha256/x/model.onnx", Body=b"")
    _denied(s3.delete_object, Bucket=bucket, Key="deployments/digits.json")
    _denied(s3.get_object, Bucket=names["DataBucket"], Key="seattle_weather/2012.csv")
    key = {"pk": {"S": "MODEL#digits"}, "sk": {"S": "DEPLOYMENT"}}
    _denied(dynamodb.get_item, TableName=table, Key=key)
    _denied(dynamodb.put_item, TableName=table, Item=key)
    _denied(dynamodb.delete_item, TableName=table, Key=key)


STEPS = ("Claim", "Validate", "Turn", "Prepare", "Train", "Evaluate", "Register", "Promote", "Conclude")


@pytest.mark.parametrize("step", STEPS)
def test_a_retraining_step_cannot_touch_another_model(system: System, step: str) -> None:
    names = system.outputs("Registry")
    keys = system.role_credentials(_function_of(system, step))
    s3, dynamodb = system.client("s3", **keys), system.client("dynamodb", **keys)
    item = {"pk": {"S": "MODEL#digits"}, "sk": {"S": "DEPLOYMENT"}}
    # That other models' items are out of reach is a condition on dynamodb:LeadingKeys, which the local AWS does not
    # evaluate; tests/stacks asserts that every statement carries it.
    _denied(dynamodb.delete_item, TableName=names["RegistryTable"], Key=item)
    _denied(dynamodb.scan, TableName=names["RegistryTable"])
    _denied(s3.put_object, Bucket=names["ArtifactBucket"], Key="deployments/digits.json", Body=b"{}")
    _denied(s3.put_object, Bucket=names["DataBucket"], Key="digits/new.csv", Body=b"")


def test_the_step_that_runs_the_training_code_reaches_neither_registry_nor_data(system: System) -> None:
    names = system.outputs("Registry")
    keys = system.role_credentials(_function_of(system, "Train"))
    s3, dynamodb = system.client("s3", **keys), system.client("dynamodb", **keys)
    item = {"pk": {"S": "MODEL#seattle_weather"}, "sk": {"S": "DEPLOYMENT"}}
    _denied(dynamodb.get_item, TableName=names["RegistryTable"], Key=item)
    _denied(s3.get_object, Bucket=names["DataBucket"], Key="seattle_weather/2012.csv")
    _denied(s3.put_object, Bucket=names["ArtifactBucket"], Key="deployments/seattle_weather.json", Body=b"{}")
    _denied(s3.put_object, Bucket=names["ArtifactBucket"], Key="artifacts/sha256/x/model.onnx", Body=b"")
    _denied(s3.put_object, Bucket=names["ArtifactBucket"], Key="evaluation_sets/seattle_weather/x.csv", Body=b"")


@pytest.mark.parametrize(("step", "writes"), [("Train", False), ("Evaluate", False), ("Promote", True)])
def test_only_the_steps_that_write_the_registry_can(system: System, step: str, writes: bool) -> None:
    table = system.outputs("Registry")["RegistryTable"]
    dynamodb = system.client("dynamodb", **system.role_credentials(_function_of(system, step)))
    item = {"pk": {"S": "MODEL#seattle_weather"}, "sk": {"S": "TEST#permission"}}
    if writes:
        dynamodb.put_item(TableName=table, Item=item)
        system.client("dynamodb").delete_item(TableName=table, Key=item)
    else:
        _denied(dynamodb.put_item, TableName=table, Item=item)


def _function_of(system: System, step: str) -> str:
    resources = system.client("cloudformation").describe_stack_resources(
        StackName="Modelyard-local-Retraining-seattle-weather"
    )["StackResources"]
    (found,) = [
        resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::Lambda::Function"
        and resource["LogicalResourceId"].startswith(f"Retraining{step}Function")
    ]
    return str(found)


def test_the_developer_cannot_administer(system: System) -> None:
    keys = system.developer
    _denied(system.client("iam", **keys).create_user, UserName="another")
    _denied(system.client("lambda", **keys).list_functions)
    table = system.outputs("Registry")["RegistryTable"]
    _denied(system.client("dynamodb", **keys).delete_table, TableName=table)
