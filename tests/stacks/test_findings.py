"""No finding of the rule packs or of cfn-lint is left without a reason, in any environment."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.stacks.conftest import PROJECT, Synthesized, _findings


def test_no_rule_of_aws_solutions_or_serverless_is_broken_without_a_reason(synthesized: Synthesized) -> None:
    assert synthesized.findings == []


def test_the_rule_packs_do_find_what_is_wrong(tmp_path: Path) -> None:
    from aws_cdk import App, Stack, Validations
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_s3 as s3
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks

    import stacks  # noqa: F401 - chooses the Node that aws_cdk starts

    app = App(outdir=str(tmp_path), analytics_reporting=False)
    stack = Stack(app, "Careless")
    s3.Bucket(stack, "Open")
    lambda_.Function(
        stack, "Old", runtime=lambda_.Runtime.PYTHON_3_9, handler="x.y", code=lambda_.Code.from_inline("x = 1")
    )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    found = " ".join(_findings(tmp_path / "validation-report.json"))
    assert "AwsSolutions-S10" in found
    assert "Serverless-LambdaTracing" in found


def test_cfn_lint_has_nothing_to_say(synthesized: Synthesized) -> None:
    from cfnlint.api import ManualArgs, lint_file

    # W3005: CDK writes DependsOn also where a reference orders the two anyway.
    # W2531: the local environment runs the host's own Python, which may be near the end of its support.
    ignored = ["W3005", "W2531"] if synthesized.name == "local" else ["W3005"]
    said = [
        f"{path.name}: {match.rule.id} {match.message}"
        for path in sorted(synthesized.folder.glob("*.template.json"))
        for match in lint_file(path, config=ManualArgs(regions=["eu-west-1"], ignore_checks=ignored))
    ]
    assert said == []


def test_every_accepted_finding_has_a_reason() -> None:
    calls = 0
    for path in sorted((PROJECT / "stacks").glob("*.py")):
        text = path.read_text()
        calls += len(re.findall(r"\baccept(_resources|_objects)?\(", text))
        assert "suppress" not in text.lower(), f"{path.name}: use stacks.findings, which asks for a reason"
    assert calls > 5


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    statements = document["Statement"]
    return statements if isinstance(statements, list) else [statements]


def test_no_role_is_granted_all_actions_or_all_resources(synthesized: Synthesized) -> None:
    log_delivery = re.compile(
        r"logs:(Create|Get|Update|Delete|List)LogDeliver(y|ies)|logs:(Put|Describe)ResourcePolic(y|ies)|logs:DescribeLogGroups"
        # The local AWS checks this one against no resource (docs/local_aws.md).
        + ("|states:SendTaskSuccess" if synthesized.name == "local" else "")
    )
    seen = 0
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for _, logical_id, resource in synthesized.resources(kind):
            for statement in _statements(resource["Properties"]["PolicyDocument"]):
                seen += 1
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not [action for action in actions if "*" in action], (logical_id, actions)
                if statement["Resource"] == "*":
                    assert all(log_delivery.fullmatch(action) for action in actions), (logical_id, actions)
    assert seen > 20


def test_no_role_uses_a_policy_that_aws_manages(synthesized: Synthesized) -> None:
    for _, logical_id, role in synthesized.resources("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role["Properties"], logical_id


def test_no_resource_has_a_fixed_name(synthesized: Synthesized) -> None:
    names = {
        "AWS::S3::Bucket": "BucketName",
        "AWS::DynamoDB::Table": "TableName",
        "AWS::Lambda::Function": "FunctionName",
        "AWS::IAM::Role": "RoleName",
        "AWS::SQS::Queue": "QueueName",
        "AWS::SNS::Topic": "TopicName",
        "AWS::StepFunctions::StateMachine": "StateMachineName",
    }
    for kind, name in names.items():
        for _, logical_id, resource in synthesized.resources(kind):
            assert name not in resource.get("Properties", {}), logical_id


def test_templates_name_no_account_but_their_own(synthesized: Synthesized) -> None:
    accounts = {"local": "000000000000", "dev": "111122223333", "prod": "444455556666"}
    for stack, body in synthesized.templates.items():
        found = set(re.findall(r"\b\d{12}\b", json.dumps(body)))
        assert found <= {accounts[synthesized.name]}, (stack, found)
