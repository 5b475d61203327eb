"""How endpoints get new code, on the templates: property for property what CloudFormation's reference asks for.

Nothing here runs CodeDeploy: there is none on the local AWS.
"""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from modelyard.environments import CodeRelease
from modelyard.errors import UsageError
from modelyard.release_override import STANDING, VALID, ReleaseOverride
from modelyard.serving import audit
from modelyard.times import stamp, utc_now
from tests.stacks.conftest import Synthesized, synthesize

MODELS = {"Endpoint-digits": "digits", "Endpoint-seattle-weather": "seattle_weather"}
OVERRIDE = ReleaseOverride(model="digits", operation="fix-1", alarms=("ErrorRate",), until=stamp(utc_now() + VALID / 2))


@pytest.fixture(scope="module")
def dev(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize("dev", tmp_path_factory.mktemp("dev"))


@pytest.fixture(scope="module")
def local(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def overridden(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize("prod", tmp_path_factory.mktemp("overridden"), release_override=OVERRIDE.word("prod"))


@pytest.fixture(scope="module", params=["dev", "prod"])
def cloud(request: pytest.FixtureRequest) -> Synthesized:
    found: Synthesized = request.getfixturevalue(request.param)
    return found


def of(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def only(template: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    (found,) = of(template, kind).items()
    return found


def watched(template: dict[str, Any]) -> set[str]:
    """Logical ids of the alarms that the deployment group looks at."""
    _, group = only(template, "AWS::CodeDeploy::DeploymentGroup")
    return {alarm["Name"]["Ref"] for alarm in group["Properties"]["AlarmConfiguration"]["Alarms"]}


@pytest.mark.parametrize("ending", MODELS)
def test_codedeploy_moves_the_alias_in_steps_and_back_on_every_kind_of_failure(cloud: Synthesized, ending: str) -> None:
    template = cloud.template(ending)
    application, body = only(template, "AWS::CodeDeploy::Application")
    assert body["Properties"]["ComputePlatform"] == "Lambda"
    group, body = only(template, "AWS::CodeDeploy::DeploymentGroup")
    properties = body["Properties"]
    assert properties["ApplicationName"] == {"Ref": application}
    assert properties["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent10Minutes"
    assert properties["DeploymentStyle"] == {
        "DeploymentType": "BLUE_GREEN", "DeploymentOption": "WITH_TRAFFIC_CONTROL",
    }  # fmt: skip
    assert properties["AutoRollbackConfiguration"]["Enabled"] is True
    assert set(properties["AutoRollbackConfiguration"]["Events"]) == {
        "DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_REQUEST", "DEPLOYMENT_STOP_ON_ALARM",
    }  # fmt: skip
    assert properties["AlarmConfiguration"]["Enabled"] is True
    assert not properties["AlarmConfiguration"].get("IgnorePollAlarmFailure"), "who cannot look, stops"
    assert watched(template) == set(of(template, "AWS::CloudWatch::Alarm")), "the endpoint's, and the new version's"
    assert len(watched(template)) == 5 <= 10, "a group may have ten"
    _, alias = only(template, "AWS::Lambda::Alias")
    assert alias["UpdatePolicy"] == {
        "CodeDeployLambdaAliasUpdate": {"ApplicationName": {"Ref": application}, "DeploymentGroupName": {"Ref": group}}
    }


def test_the_group_has_its_alarms_and_codedeploy_its_rights_before_the_alias_moves(cloud: Synthesized) -> None:
    template = cloud.template("Endpoint-digits")
    group, body = only(template, "AWS::CodeDeploy::DeploymentGroup")
    alias_id, alias = only(template, "AWS::Lambda::Alias")
    assert group in alias["DependsOn"]
    role = body["Properties"]["ServiceRoleArn"]["Fn::GetAtt"][0]
    assert template["Resources"][role]["Properties"]["Policies"], "inline: a policy of its own could come later"
    needed, seen = {group}, set()
    while needed:
        name = needed.pop()
        seen.add(name)
        text = json.dumps(template["Resources"][name])
        needed |= {other for other in template["Resources"] if f'"{other}"' in text and other not in seen}
    assert alias_id not in seen, "a circle: CloudFormation would refuse the template"


def test_routes_lead_to_the_alias_so_they_answer_while_it_moves(cloud: Synthesized) -> None:
    for ending in MODELS:
        template = cloud.template(ending)
        alias, _ = only(template, "AWS::Lambda::Alias")
        for integration in of(template, "AWS::ApiGatewayV2::Integration").values():
            assert integration["Properties"]["IntegrationUri"] == {"Ref": alias}
        for permission in of(template, "AWS::Lambda::Permission").values():
            assert permission["Properties"]["FunctionName"] == {"Ref": alias}


def test_alarms_on_the_new_version_know_that_version_and_no_other(cloud: Synthesized) -> None:
    for ending, model in MODELS.items():
        template = cloud.template(ending)
        version, _ = only(template, "AWS::Lambda::Version")
        function, _ = only(template, "AWS::Lambda::Function")
        number = {"Fn::GetAtt": [version, "Version"]}
        alarms = {name: item["Properties"] for name, item in of(template, "AWS::CloudWatch::Alarm").items()}
        new = {name: alarm for name, alarm in alarms.items() if "NewVersion" in name}
        assert len(new) == 3
        for name, alarm in new.items():
            metrics = [query["MetricStat"] for query in alarm["Metrics"] if "MetricStat" in query]
            assert len(metrics) == 2
            for metric in metrics:
                dimensions = {one["Name"]: one["Value"] for one in metric["Metric"]["Dimensions"]}
                if metric["Metric"]["Namespace"] == "AWS/Lambda":
                    assert dimensions == {
                        "FunctionName": {"Ref": function},
                        "Resource": {"Fn::Join": ["", [{"Ref": function}, ":live"]]},
                        "ExecutedVersion": number,
                    }
                else:
                    assert dimensions == {"model": model, "function_version": number}
                assert metric["Period"] == 300
            assert (alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (1, "notBreaching")
            assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
            assert "AlarmActions" not in alarm, "the release fails, and who released hears of it"
            # Another version has other alarms, in no state yet, and not these in the state that they are in.
            assert version[-8:] in name


def test_few_requests_alone_take_no_release_back(cloud: Synthesized) -> None:
    alarms = of(cloud.template("Endpoint-digits"), "AWS::CloudWatch::Alarm")
    said = {
        name: query["Expression"]
        for name, alarm in alarms.items()
        for query in alarm["Properties"].get("Metrics", ())
        if "NewVersion" in name and "Expression" in query
    }
    assert sorted(said.values()) == [
        "IF(calls >= 20, slow, 0)", "IF(failed >= 3, failed / calls, 0)", "IF(failed >= 3, failed / calls, 0)",
    ]  # fmt: skip


def test_what_the_new_version_answers_badly_is_counted_by_its_audit_lines(cloud: Synthesized) -> None:
    (alarm,) = [
        item["Properties"]
        for name, item in of(cloud.template("Endpoint-digits"), "AWS::CloudWatch::Alarm").items()
        if "NewVersionErrors" in name
    ]
    (metric,) = [
        query["MetricStat"]["Metric"]
        for query in alarm["Metrics"]
        if "MetricStat" in query and query["MetricStat"]["Metric"]["Namespace"] == audit.NAMESPACE
    ]
    assert {one["Name"] for one in metric["Dimensions"]} == set(audit.CODE_DIRECTIVE["Dimensions"][0])
    assert [one["Name"] for one in audit.CODE_DIRECTIVE["Metrics"]] == [metric["MetricName"]]


def test_codedeploy_may_move_this_alias_and_look_at_alarms_and_nothing_else(cloud: Synthesized) -> None:
    template = cloud.template("Endpoint-digits")
    (role,) = [
        item["Properties"]
        for item in of(template, "AWS::IAM::Role").values()
        if "codedeploy.amazonaws.com" in json.dumps(item["Properties"]["AssumeRolePolicyDocument"])
    ]
    assert "ManagedPolicyArns" not in role
    (policy,) = role["Policies"]
    moves, looks = policy["PolicyDocument"]["Statement"]
    assert set(moves["Action"]) == {"lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig"}
    function, _ = only(template, "AWS::Lambda::Function")
    arn = {"Fn::GetAtt": [function, "Arn"]}
    assert moves["Resource"] == [arn, {"Fn::Join": ["", [arn, ":*"]]}]
    assert looks["Action"] == "cloudwatch:DescribeAlarms"
    assert ":cloudwatch:eu-west-1:" in json.dumps(looks["Resource"])
    assert json.dumps(looks["Resource"]).rstrip('"]}').endswith(":alarm:*")


def test_the_local_alias_moves_at_once(local: Synthesized) -> None:
    for stack, body in local.templates.items():
        assert not [item["Type"] for item in body["Resources"].values() if "CodeDeploy" in item["Type"]], stack
        assert "codedeploy" not in json.dumps(body).lower(), stack
        for alias in of(body, "AWS::Lambda::Alias").values():
            assert not {"UpdatePolicy", "DependsOn"} & alias.keys()
        assert not [name for name in body.get("Outputs", {}) if name.startswith("Alarm")]


@pytest.mark.parametrize("name", [name for name in get_args(CodeRelease) if name != "all_at_once"])
def test_every_release_that_an_environment_may_choose_is_one_of_codedeploys_own(name: str) -> None:
    import stacks  # noqa: F401, I001 - chooses the Node that aws_cdk starts
    from aws_cdk import aws_codedeploy as codedeploy

    known = getattr(codedeploy.LambdaDeploymentConfig, name.upper()).deployment_config_name
    assert known.startswith("CodeDeployDefault.Lambda")
    assert re.findall(r"\d+", name) == re.findall(r"\d+", known)


def test_an_override_leaves_out_the_alarms_that_it_names_and_no_other(
    prod: Synthesized, overridden: Synthesized
) -> None:
    without, with_it = watched(prod.template("Endpoint-digits")), watched(overridden.template("Endpoint-digits"))
    (left_out,) = without - with_it
    assert "ErrorRate" in left_out
    assert with_it < without
    assert len([name for name in with_it if "NewVersion" in name]) == 3
    alarms = of(overridden.template("Endpoint-digits"), "AWS::CloudWatch::Alarm")
    assert left_out in alarms, "the alarm itself stays, and so do those whom it tells"
    _, group = only(overridden.template("Endpoint-digits"), "AWS::CodeDeploy::DeploymentGroup")
    assert group["Properties"]["AlarmConfiguration"]["Enabled"] is True


def test_an_override_leaves_the_ledgers_id_behind_until_the_next_deployment(
    prod: Synthesized, overridden: Synthesized
) -> None:
    template = overridden.template("Endpoint-digits")
    _, group = only(template, "AWS::CodeDeploy::DeploymentGroup")
    assert {"Key": "release-override", "Value": "fix-1"} in group["Properties"]["Tags"]
    assert template["Outputs"]["ReleaseOverride"]["Value"] == OVERRIDE.word("prod")
    assert "fix-1" not in json.dumps(prod.templates)


def test_an_override_is_for_one_model(prod: Synthesized, overridden: Synthesized) -> None:
    for name, body in prod.templates.items():
        if not name.endswith("Endpoint-digits"):
            assert overridden.templates[name] == body, name


def test_an_override_opens_no_finding(overridden: Synthesized) -> None:
    assert overridden.findings == []


@pytest.mark.parametrize("word", ["yes", "prod/digits/ErrorRate", OVERRIDE.word("dev")])
def test_a_context_that_the_ledger_did_not_give_ends_the_synth(unbuilt_layers: None, tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError) as refused:
        synthesize("prod", tmp_path, release_override=word)
    assert refused.value.code == "invalid_override"


def test_the_stack_says_what_the_alarms_are_called_that_an_override_may_name(cloud: Synthesized) -> None:
    template = cloud.template("Endpoint-digits")
    named = {key: value["Value"]["Ref"] for key, value in template["Outputs"].items() if key.startswith("Alarm")}
    assert set(named) == {f"Alarm{alarm}" for alarm in STANDING}
    assert set(named.values()) == {name for name in watched(template) if "NewVersion" not in name}


def test_operators_may_see_the_alarms_of_this_environment(synthesized: Synthesized) -> None:
    text = json.dumps(synthesized.template("Registry"))
    may = '"cloudwatch:DescribeAlarms"' in text
    assert may == (synthesized.name != "local")
    assert not may or f":alarm:Modelyard-{synthesized.name}-*" in text
