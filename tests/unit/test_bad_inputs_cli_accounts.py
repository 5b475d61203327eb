"""Commands whose credentials, account, region or network are wrong. The list of bad inputs: test_bad_inputs_cli."""

import functools
import os
from pathlib import Path

import pytest

from modelyard import stack_names
from modelyard.aws.clients import Clients
from modelyard.cli.session import Session
from tests.fakes.aws_endpoint import EMPTY_TABLE, Answer, answering, identity, refusal, stack
from tests.fakes.command_line import CommandLine

DEV, OTHER = "111122223333", "999999999999"


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose registry is where AWS is; one attempt for each call, and no credentials."""
    real = Session.__dict__["registry"], Session.__dict__["actor"]
    made = CommandLine(tmp_path / "project", monkeypatch, capsys)
    monkeypatch.setattr(Session, "registry", real[0])
    monkeypatch.setattr(Session, "actor", real[1])
    monkeypatch.setattr("modelyard.aws.clients.Clients", functools.partial(Clients, attempts=1, connect_timeout_s=2))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return made


@pytest.fixture
def keys(dev: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that look like some."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def all_is_well(name: str) -> Answer:
    return {
        "GetCallerIdentity": identity(DEV),
        "DescribeStacks": stack(
            **{stack_names.TABLE: "t", stack_names.ARTIFACT_BUCKET: "a", stack_names.DATA_BUCKET: "d"}
        ),
    }.get(name, EMPTY_TABLE)


@pytest.mark.parametrize("state", ["none", "half", "no such profile", "garbage in the file", "not text in the file"])
def test_credentials_that_do_not_work_end_with_3(
    dev: CommandLine, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match state:
        case "half":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        case "no such profile":
            monkeypatch.setenv("AWS_PROFILE", "nobody")
        case "garbage in the file":
            (tmp_path / "credentials").write_text("aws_access_key_id = no section\n")
        case "not text in the file":
            (tmp_path / "credentials").write_bytes(b"\xff\xfe\x00")
    ended = dev.run("--env", "dev", "history", "sums")
    ended.refused(3, "no usable AWS credentials")
    assert "AWS_PROFILE" in ended.next_steps[0]


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "AccessDenied"])
@pytest.mark.usefixtures("keys")
def test_credentials_that_aws_refuses_end_with_3(dev: CommandLine, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"ExpiredToken": "have expired", "AccessDenied": "may not do that"}.get(code, "does not know")
    with answering(lambda _: refusal(code, status=403)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        dev.run("--env", "dev", "history", "sums").refused(3, words)


@pytest.mark.parametrize(
    ("operation", "answer", "code", "said", "next_step"),
    [
        (
            "GetCallerIdentity",
            identity(OTHER),
            3,
            f"account {OTHER}; environment 'dev' is account {DEV}",
            "AWS_PROFILE",
        ),
        (
            "DescribeStacks",
            refusal("ValidationError", "Stack with id x does not exist"),
            5,
            f"is not deployed in account {DEV}, eu-west-1",
            "cdk deploy --all -c env=dev",
        ),
        ("DescribeStacks", refusal("AccessDenied", status=403), 3, "may not do that", "Use a role that may"),
        ("DescribeStacks", refusal("Throttling"), 5, "throttling", "Wait a minute"),
        ("DescribeStacks", refusal("InternalFailure", status=500), 5, "describe stack", "doctor"),
    ],
    ids=["wrong account", "not deployed, or another region", "denied", "throttled", "AWS fails"],
)
@pytest.mark.usefixtures("keys")
def test_what_is_wrong_with_the_account_is_named_and_the_right_one_works(
    dev: CommandLine,
    operation: str,
    answer: Answer,
    code: int,
    said: str,
    next_step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(lambda name: answer if name == operation else all_is_well(name)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ended = dev.run("--env", "dev", "search")
        ended.refused(code, said)
        assert next_step in ended.next_steps[0]
    with answering(all_is_well) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert dev.run("--env", "dev", "search").done() == "no model matches\n"


@pytest.mark.usefixtures("keys")
def test_offline_is_one_line(dev: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(all_is_well) as url:
        pass  # nobody listens there any more
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    ended = dev.run("--env", "dev", "search")
    ended.refused(5, "AWS does not answer")
    assert "Check the network" in ended.next_steps[0]


@pytest.mark.parametrize(
    "page", ["<html>sign in</html", "<html><body>sign in</body></html>", "sign in", ""], ids=["cut", "XML", "text", "-"]
)
@pytest.mark.usefixtures("keys")
def test_what_answers_may_be_no_aws(dev: CommandLine, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: (200, page)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ended = dev.run("--env", "dev", "search")
    ended.refused(5, "find out who you are")
    assert "Check the network" in ended.next_steps[0]


@pytest.mark.parametrize("content", [None, "", "[]", '{"access_key": "a"}', "\udcff", "a folder"], ids=ascii)
def test_credentials_of_the_local_aws_that_cannot_be_read(
    dev: CommandLine, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Running:
        endpoint = "http://127.0.0.1:1"

        def is_running(self) -> bool:
            return True

    monkeypatch.setattr(Session, "local_aws", Running())
    file = tmp_path / "home" / "aws" / "credentials.json"
    file.parent.mkdir(parents=True)
    if content == "a folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    ended = dev.run("search")
    ended.refused(5, "no developer credentials")
    assert "make up" in ended.next_steps[0]
