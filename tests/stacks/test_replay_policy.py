"""Who replays captured traffic, as a CI job does, may read what that takes and change nothing."""

import json

from tests.stacks.conftest import Synthesized


def test_a_replay_reads_captures_labels_and_versions_and_writes_nothing(synthesized: Synthesized) -> None:
    template = synthesized.template("Registry")
    policies = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    ]
    (policy,) = [found for found in policies if "captured requests" in found["Description"]]
    statements = policy["PolicyDocument"]["Statement"]
    actions = {
        action
        for found in statements
        for action in ([found["Action"]] if isinstance(found["Action"], str) else found["Action"])
    }
    assert actions == {
        "cloudformation:DescribeStacks", "dynamodb:GetItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket",
    }  # fmt: skip
    assert {found["Effect"] for found in statements} == {"Allow"}
    (reads,) = [json.dumps(found["Resource"]) for found in statements if found["Action"] == "s3:GetObject"]
    assert [key for key in ("artifacts", "captures", "feedback", "deployments", "runs") if f"/{key}/*" in reads] == [
        "artifacts", "captures", "feedback",
    ]  # fmt: skip
    others = [json.dumps(found) for found in policies if found is not policy]
    assert not [text for text in others if "captures/" in text], "requests of callers are read with this policy alone"
