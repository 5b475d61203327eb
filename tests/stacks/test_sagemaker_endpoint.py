"""Endpoints on SageMaker, on the templates: kinds, roles, image, and what a project without them has of it: nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.endpoint_variables import LONGEST_VALUE, server_variables
from modelyard.errors import SpecError
from modelyard.serving.settings import EndpointSettings
from modelyard.spec import load_model
from modelyard.way_in.settings import WayInSettings
from tests.stacks.conftest import Synthesized
from tests.stacks.sagemaker_project import (
    KEY,
    MODELS,
    Assembly,
    actions_of,
    assembly_of,
    statements,
    write_project,
)

KINDS = ("AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Endpoint")
OWN = ("steady", "single", "rare", "long", "graphic")


def variant(assembly: Assembly, ending: str) -> dict[str, Any]:
    (found,) = assembly.only(ending, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    return found


def variables(assembly: Assembly, ending: str) -> dict[str, str]:
    found: dict[str, str] = assembly.only(ending, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"]
    return found


def test_no_rule_is_broken_without_a_reason(sagemaker_dev: Assembly) -> None:
    assert sagemaker_dev.findings == []


def test_cfn_lint_has_nothing_to_say(sagemaker_dev: Assembly) -> None:
    from cfnlint.api import ManualArgs, lint_file

    said = [
        f"{path.name}: {match.rule.id} {match.message}"
        for path in sorted(sagemaker_dev.folder.glob("*.template.json"))
        for match in lint_file(path, config=ManualArgs(regions=["eu-west-1"], ignore_checks=["W3005"]))
    ]
    assert said == []


def test_a_model_on_lambda_has_nothing_of_sagemaker(sagemaker_dev: Assembly, synthesized: Synthesized) -> None:
    assert "SageMaker" not in json.dumps(sagemaker_dev.stack("Endpoint-plain"))
    for name, template in synthesized.templates.items():
        text = json.dumps(template)
        assert "sagemaker" not in text.lower() or "Retraining" in name, name
        assert "async/" not in text
    assets = [json.loads(path.read_text()) for path in synthesized.folder.glob("*.assets.json")]
    assert assets
    assert not any(asset.get("dockerImages") for asset in assets), "no image, so no Docker"


def test_a_realtime_endpoint_follows_its_requests(sagemaker_dev: Assembly) -> None:
    found = variant(sagemaker_dev, "Endpoint-steady")
    assert (found["InstanceType"], found["InitialInstanceCount"]) == ("ml.m5.large", 2)
    assert found["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    target = sagemaker_dev.only("Endpoint-steady", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    assert json.dumps(target["ResourceId"]).endswith('"/variant/AllTraffic"]]}')
    assert found["VariantName"] == "AllTraffic"
    assert "RoleARN" not in target, "AWS's own role for it"
    policy = sagemaker_dev.only("Endpoint-steady", "AWS::ApplicationAutoScaling::ScalingPolicy")
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }
    assert tracked["TargetValue"] == 3000


def test_a_serverless_endpoint_has_memory_and_no_machines(sagemaker_dev: Assembly) -> None:
    found = variant(sagemaker_dev, "Endpoint-rare")
    assert found["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 20}
    assert not {"InstanceType", "InitialInstanceCount"} & found.keys()
    assert not sagemaker_dev.of("Endpoint-rare", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert "KmsKeyId" not in sagemaker_dev.only("Endpoint-rare", "AWS::SageMaker::EndpointConfig")
    assert variables(sagemaker_dev, "Endpoint-rare")["MODELYARD_MAX_BODY_MB"] == "4"


def test_an_async_endpoint_takes_from_s3_and_tells_topics(sagemaker_dev: Assembly) -> None:
    config = sagemaker_dev.only("Endpoint-long", "AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    assert config["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    output = config["OutputConfig"]
    for key, ending in (("S3OutputPath", "/async/long/out/"), ("S3FailurePath", "/async/long/failed/")):
        parts = output[key]["Fn::Join"][1]
        assert (parts[0], parts[-1]) == ("s3://", ending)
    topics = sagemaker_dev.of("Endpoint-long", "AWS::SNS::Topic")
    told = {output["NotificationConfig"][topic]["Ref"] for topic in ("SuccessTopic", "ErrorTopic")}
    assert told == set(topics)
    assert {"AnswersTopic", "FailuresTopic"} <= sagemaker_dev.outputs("Endpoint-long").keys()
    expiring = [
        (rule["Prefix"], rule["ExpirationInDays"])
        for bucket in sagemaker_dev.of("Registry", "AWS::S3::Bucket").values()
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    ]
    assert ("async/", 7) in expiring


def test_an_async_endpoint_goes_to_zero_and_comes_back_for_one_request(sagemaker_dev: Assembly) -> None:
    target = sagemaker_dev.only("Endpoint-long", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert target["MinCapacity"] == 0
    assert variant(sagemaker_dev, "Endpoint-long")["InitialInstanceCount"] == 1, "SageMaker begins with one at least"
    policies = sagemaker_dev.of("Endpoint-long", "AWS::ApplicationAutoScaling::ScalingPolicy")
    (tracked,) = [body for body in policies.values() if body["PolicyType"] == "TargetTrackingScaling"]
    metric = tracked["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    assert metric["MetricName"] == "ApproximateBacklogSizePerInstance"
    (step_id,) = [name for name, body in policies.items() if body["PolicyType"] == "StepScaling"]
    step = policies[step_id]["StepScalingPolicyConfiguration"]
    assert step["AdjustmentType"] == "ChangeInCapacity"
    assert step["StepAdjustments"] == [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]
    alarms = sagemaker_dev.of("Endpoint-long", "AWS::CloudWatch::Alarm").values()
    (waiting,) = [alarm for alarm in alarms if alarm.get("MetricName") == "HasBacklogWithoutCapacity"]
    assert waiting["AlarmActions"] == [{"Ref": step_id}]
    assert (waiting["Threshold"], waiting["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    endpoint = sagemaker_dev.only("Endpoint-long", "AWS::SageMaker::Endpoint")
    assert waiting["Dimensions"] == [{"Name": "EndpointName", "Value": endpoint["EndpointName"]}]


@pytest.mark.parametrize("name", OWN)
def test_a_container_may_do_what_a_function_of_its_model_may(sagemaker_dev: Assembly, name: str) -> None:
    found = statements(sagemaker_dev.stack(f"Endpoint-{name}"), "ServerRole")
    rights = {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "logs:CreateLogStream", "logs:PutLogEvents"}
    rights |= {"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
    rights |= {"ecr:BatchCheckLayerAvailability", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"}
    rights |= {"kms:CreateGrant"}
    assert actions_of(found) == rights | ({"sns:Publish"} if name == "long" else set())
    text = json.dumps(found)
    assert f"/deployments/{name}.json" in text
    assert f"/feedback/{name}/*" in text
    others = [other for other in MODELS if other != name and f"/{other}" in text]
    assert others == []
    (free,) = [statement for statement in found if statement["Resource"] == "*"]
    assert actions_of([free]) == {"ecr:GetAuthorizationToken"}


@pytest.mark.parametrize("name", OWN)
def test_the_way_in_may_call_this_endpoint_alone(sagemaker_dev: Assembly, name: str) -> None:
    stack = sagemaker_dev.stack(f"Endpoint-{name}")
    found = statements(stack, "WayInInvokeRole")
    (endpoint,) = sagemaker_dev.of(f"Endpoint-{name}", "AWS::SageMaker::Endpoint")
    (call,) = [statement for statement in found if "sagemaker" in json.dumps(statement["Action"])]
    assert call["Resource"] == {"Ref": endpoint}
    assert call["Action"] == f"sagemaker:InvokeEndpoint{'Async' if name == 'long' else ''}"
    logs = {"logs:CreateLogStream", "logs:PutLogEvents", call["Action"]}
    later = {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "kms:Decrypt"}
    assert actions_of(found) == logs | (later if name == "long" else set())
    for action, keys in (("s3:PutObject", {"in", "jobs"}), ("s3:GetObject", {"jobs", "out", "failed"})):
        granted = json.dumps([statement for statement in found if statement["Action"] == action])
        assert {key for key in ("in", "jobs", "out", "failed") if f"/async/long/{key}/*" in granted} == (
            keys if name == "long" else set()
        )


@pytest.mark.parametrize("name", [*OWN, "first", "second"])
def test_routes_are_those_of_a_lambda_endpoint_and_lead_to_the_way_in(sagemaker_dev: Assembly, name: str) -> None:
    keys = {
        route["RouteKey"].replace("/plain", f"/{name}")
        for route in sagemaker_dev.of("Endpoint-plain", "AWS::ApiGatewayV2::Route").values()
    }
    routes = sagemaker_dev.of(f"Endpoint-{name}", "AWS::ApiGatewayV2::Route").values()
    later = {"GET /models/long/predictions/{id}"} if name == "long" else set()
    assert {route["RouteKey"] for route in routes} == keys | later
    assert {route["AuthorizationType"] for route in routes} == {"AWS_IAM"}
    function = sagemaker_dev.only(f"Endpoint-{name}", "AWS::Lambda::Function")
    assert function["Handler"] == "invoke.handler"
    told = WayInSettings.read({key: str(value) for key, value in function["Environment"]["Variables"].items()})
    assert (told.model, told.target.removeprefix("sagemaker-")) == (
        name,
        {"rare": "serverless", "long": "async"}.get(name, "realtime"),
    )
    assert told.routing_header == ("x-session" if name == "single" else "")
    assert bool(told.bucket) == (name == "long")


def test_callers_of_models_may_fetch_their_answers_where_some_come_later(sagemaker_dev: Assembly) -> None:
    allowed = json.dumps(sagemaker_dev.of("Api", "AWS::IAM::ManagedPolicy"))
    assert "/*/GET/models/*/predictions/*" in allowed


@pytest.mark.parametrize("name", OWN)
def test_a_container_is_told_what_the_function_would_be(sagemaker_dev: Assembly, name: str) -> None:
    told = {key: str(value) for key, value in variables(sagemaker_dev, f"Endpoint-{name}").items()}
    settings = EndpointSettings.read(told)
    assert (settings.model, settings.refresh_s) == (name, 10)
    assert settings.engine == ("standard" if name == "graphic" else "lean")
    assert settings.providers == (("cuda", "cpu") if name == "graphic" else ("cpu",))


def test_a_gpu_has_its_own_image_and_a_driver_for_it(sagemaker_dev: Assembly) -> None:
    assert variant(sagemaker_dev, "Endpoint-graphic")["InferenceAmiVersion"].endswith("gpu-4-1")
    assert "InferenceAmiVersion" not in variant(sagemaker_dev, "Endpoint-steady")
    source, files = sagemaker_dev.image("Endpoint-graphic")
    assert source["dockerBuildTarget"] == "gpu_own"
    assert source["dockerBuildArgs"]["CODE"] == "/opt/models/graphic/python"
    assert "models/graphic/python/graphic_model/__init__.py" in files


def test_an_image_holds_the_library_and_no_more_of_the_project(sagemaker_dev: Assembly) -> None:
    source, files = sagemaker_dev.image("Endpoint-steady")
    assert (source["dockerBuildTarget"], source["platform"]) == ("cpu", "linux/amd64")
    assert "layers/server/Dockerfile" in files
    assert "layers/core/python/modelyard/server/__init__.py" in files
    assert {"layers/native/forest.c", "layers/native/rows.c"} <= set(files)
    assert not [
        file for file in files if not file.startswith(("layers/core/python/", "layers/native/", "layers/server/"))
    ]
    assert not [file for file in files if "modelyard/cli/" in file or "modelyard/packaging/" in file]
    assert sagemaker_dev.image("Host-shelf")[0]["platform"] == "linux/arm64", "ml.c7g is AWS's own processor"


def test_a_disk_has_the_environments_key_where_sagemaker_can_put_one(sagemaker_dev: Assembly) -> None:
    assert sagemaker_dev.only("Endpoint-steady", "AWS::SageMaker::EndpointConfig")["KmsKeyId"] == KEY
    assert "KmsKeyId" not in sagemaker_dev.only("Endpoint-graphic", "AWS::SageMaker::EndpointConfig")
    output = sagemaker_dev.only("Endpoint-long", "AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    assert output["OutputConfig"]["KmsKeyId"] == KEY


@pytest.mark.parametrize("ending", [*(f"Endpoint-{name}" for name in OWN), "Host-shelf"])
def test_the_container_reaches_s3_and_logs_where_the_environment_says(sagemaker_dev: Assembly, ending: str) -> None:
    model = sagemaker_dev.stack(ending)
    (body,) = [item for item in model.values() if item["Type"] == "AWS::SageMaker::Model"]
    assert body["Properties"]["EnableNetworkIsolation"] is False
    groups = sagemaker_dev.of(ending, "AWS::Logs::LogGroup")
    (name,) = [name for name, group in groups.items() if "LogGroupName" in group]
    endpoint = sagemaker_dev.only(ending, "AWS::SageMaker::Endpoint")
    assert groups[name]["LogGroupName"] == f"/aws/sagemaker/Endpoints/{endpoint['EndpointName']}"
    assert groups[name]["RetentionInDays"] == 7
    assert name in body["DependsOn"], "SageMaker would make it, and keep it for ever"


def test_models_of_one_host_share_an_endpoint_and_each_has_its_way_in(sagemaker_dev: Assembly) -> None:
    assert [len(sagemaker_dev.of("Host-shelf", kind)) for kind in KINDS] == [1, 1, 1]
    told = variables(sagemaker_dev, "Host-shelf")
    assert [json.loads(told[f"MODELYARD_MODEL_{number}"])["MODELYARD_MODEL"] for number in (1, 2)] == [
        "first",
        "second",
    ]
    assert "MODELYARD_MODEL" not in told
    text = json.dumps(statements(sagemaker_dev.stack("Host-shelf"), "ServerRole"))
    assert "/deployments/first.json" in text
    assert "/feedback/second/*" in text
    for name in ("first", "second"):
        assert not sagemaker_dev.of(f"Endpoint-{name}", "AWS::SageMaker::Endpoint")
        found = statements(sagemaker_dev.stack(f"Endpoint-{name}"), "WayInInvokeRole")
        (call,) = [statement for statement in found if statement["Action"] == "sagemaker:InvokeEndpoint"]
        assert "Host-shelf" in call["Resource"]["Fn::ImportValue"]


def test_an_operator_may_look_at_the_environments_endpoints(sagemaker_dev: Assembly) -> None:
    policies = [json.dumps(body) for body in sagemaker_dev.of("Registry", "AWS::IAM::ManagedPolicy").values()]
    (operator,) = [text for text in policies if "cloudformation:DescribeStacks" in text and "PutItem" in text]
    assert '"sagemaker:DescribeEndpoint"' in operator
    assert ":endpoint/modelyard-dev-*" in operator
    names = [sagemaker_dev.only(f"Endpoint-{name}", "AWS::SageMaker::Endpoint")["EndpointName"] for name in OWN]
    assert all(name.startswith("modelyard-dev-") and name == name.lower() and len(name) <= 63 for name in names)


def test_locally_there_is_a_way_in_and_nothing_of_sagemaker(
    unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = write_project(tmp_path_factory.mktemp("local") / "project", MODELS)
    local = assembly_of(project, tmp_path_factory.mktemp("local-out"), "local")
    assert local.findings == []
    kinds = {item["Type"] for body in local.templates.values() for item in body["Resources"].values()}
    assert not [kind for kind in kinds if "SageMaker" in kind or "ApplicationAutoScaling" in kind]
    assert not [name for name in local.templates if "Host" in name]
    assert not any(json.loads(path.read_text()).get("dockerImages") for path in local.folder.glob("*.assets.json"))
    told = local.only("Endpoint-first", "AWS::Lambda::Function")["Environment"]["Variables"]
    assert told["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == "http://127.0.0.1:4600"
    assert told["MODELYARD_SAGEMAKER_ENDPOINT"] == "modelyard-local-realtime-host-shelf"


def test_a_value_that_sagemaker_would_not_take_is_refused_at_synth(tmp_path: Path) -> None:
    columns = json.dumps([f"a_rather_long_name_of_a_column_{number:03}" for number in range(30)])
    endpoint = f'target = "sagemaker-realtime"\n[monitoring]\nredact = {columns}\n'
    write = tmp_path / "models" / "wide"
    write.mkdir(parents=True)
    (write / "model.toml").write_text(
        f'[model]\nname = "wide"\ntask = "regression"\nartifact = "m.onnx"\n[endpoint]\n{endpoint}'
    )
    (write / "m.onnx").touch()
    with pytest.raises(
        SpecError, match=f"MODELYARD_REDACT of wide would have .* bytes; SageMaker takes {LONGEST_VALUE}"
    ):
        server_variables([load_model(write)], "realtime")
