"""The local AWS as a process: it keeps its state when stopped, and a kill ends in a state that works."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from modelyard.errors import LocalError
from modelyard.local.emulator import LocalAws
from tests.cloud.conftest import PROJECT, ROOT, free_port

PYTHON = PROJECT / ".modelyard" / "ministack" / "bin" / "python"


@pytest.fixture
def local_aws(tmp_path: Path) -> LocalAws:
    found = LocalAws(home=tmp_path / "aws", port=free_port(), python=PYTHON)
    yield found
    found.forget()


def _client(local_aws: LocalAws, service: str):
    import boto3

    return boto3.client(service, region_name="eu-west-1", endpoint_url=local_aws.endpoint, **ROOT)


def _kill(local_aws: LocalAws) -> None:
    process = local_aws._process()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while local_aws.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)


def _buckets(local_aws: LocalAws) -> set[str]:
    return {bucket["Name"] for bucket in _client(local_aws, "s3").list_buckets()["Buckets"]}


def test_a_clean_stop_keeps_everything(local_aws: LocalAws) -> None:
    assert local_aws.start() == "fresh"
    assert local_aws.start() == "running"
    _client(local_aws, "s3").create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    _client(local_aws, "s3").put_object(Bucket="kept", Key="a", Body=b"1")
    assert local_aws.stop()
    assert not local_aws.stop()
    assert local_aws.start() == "started"
    assert _client(local_aws, "s3").get_object(Bucket="kept", Key="a")["Body"].read() == b"1"


def _start_something_long(local_aws: LocalAws) -> None:
    """Start a workflow whose only step is a function that takes 100 s."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("long.py", "import time\ndef handler(event, context):\n    time.sleep(100)\n")
    services = {"Effect": "Allow", "Principal": {"Service": ["states.amazonaws.com", "lambda.amazonaws.com"]}}
    trust = json.dumps({"Statement": [{**services, "Action": "sts:AssumeRole"}]})
    allow = json.dumps({"Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}]})
    iam = _client(local_aws, "iam")
    role = iam.create_role(RoleName="long", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="long", PolicyName="call", PolicyDocument=allow)
    function = _client(local_aws, "lambda").create_function(
        FunctionName="long", Runtime="python3.11", Role=role, Handler="long.handler", Timeout=120,
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]  # fmt: skip
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function}}
    definition = {"StartAt": "Long", "States": {"Long": {**task, "TimeoutSeconds": 600, "End": True}}}
    workflows = _client(local_aws, "stepfunctions")
    machine = workflows.create_state_machine(name="long", roleArn=role, definition=json.dumps(definition))
    execution = workflows.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    time.sleep(2)
    assert workflows.describe_execution(executionArn=execution)["status"] == "RUNNING"


def test_a_stop_while_a_function_runs_ends_soon_and_keeps_everything(local_aws: LocalAws) -> None:
    local_aws.start()
    _client(local_aws, "s3").create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    _start_something_long(local_aws)
    began = time.monotonic()
    assert local_aws.stop()
    assert time.monotonic() - began < 45
    left = subprocess.run(["ps", "-axo", "command"], capture_output=True, text=True, check=True).stdout
    assert str(local_aws.home) not in left, "the function ends with it"
    assert local_aws.start() == "started"
    assert _buckets(local_aws) == {"kept"}


def test_a_kill_before_anything_was_saved_starts_again_from_nothing(local_aws: LocalAws) -> None:
    local_aws.start()
    _client(local_aws, "s3").create_bucket(Bucket="lost", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    _kill(local_aws)
    assert local_aws.start() == "rebuilt"
    assert _buckets(local_aws) == set()


def test_a_kill_goes_back_to_the_last_saved_state(local_aws: LocalAws) -> None:
    local_aws.start()
    location = {"LocationConstraint": "eu-west-1"}
    _client(local_aws, "s3").create_bucket(Bucket="saved", CreateBucketConfiguration=location)
    local_aws.stop()
    local_aws.start()
    _client(local_aws, "s3").create_bucket(Bucket="unsaved", CreateBucketConfiguration=location)
    _kill(local_aws)
    assert local_aws.start() == "restored"
    assert _buckets(local_aws) == {"saved"}


def test_a_port_that_another_program_holds_is_named(tmp_path: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        with pytest.raises(LocalError, match=str(port)) as refused:
            LocalAws(home=tmp_path / "aws", port=port, python=PYTHON).start()
        assert refused.value.code == "port_taken"
    finally:
        server.terminate()
        server.wait(10)


def test_it_listens_on_the_loopback_interface_only(local_aws: LocalAws) -> None:
    local_aws.start()
    process = local_aws._process()
    assert process is not None
    table = Path(f"/proc/{process.pid}/net/tcp")
    if not table.exists():
        pytest.skip("needs /proc")
    listening = [line.split() for line in table.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    ours = [row[1] for row in listening if int(row[1].split(":")[1], 16) == local_aws.port]
    assert ours == [f"0100007F:{local_aws.port:04X}"]


def test_a_record_that_was_cut_off_counts_as_a_kill(local_aws: LocalAws) -> None:
    local_aws.start()
    local_aws.stop()
    (local_aws.home / "process.json").write_text("{")
    assert local_aws.start() == "restored"


def test_a_folder_belongs_to_one_port_while_it_runs(local_aws: LocalAws) -> None:
    local_aws.start()
    other = LocalAws(home=local_aws.home, port=free_port(), python=PYTHON)
    with pytest.raises(LocalError, match=str(local_aws.port)) as refused:
        other.start()
    assert refused.value.code == "other_port"
    assert local_aws.is_running()
