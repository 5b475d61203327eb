"""Everything that goes wrong around a command: one line of cause, one line of what to run next, safe to run again.

The entries of "CLI" in the list of bad inputs, and the tests that cover them. Those without a file are here.

================================  ====================================================================================
no, expired, unknown credentials  test_credentials_that_do_not_work_end_with_3; test_aws_clients; test_aws_stores
wrong account, wrong region,      test_what_is_wrong_with_the_account_is_named_and_the_right_one_works
not deployed, throttled
not bootstrapped                  cdk says so itself, before Modelyard runs; test_cli: 'up' elsewhere than local
offline                           test_offline_is_one_line; test_what_answers_may_be_no_aws; test_aws_stores
connection cut in the middle      test_a_cut_at_any_call_is_said_and_the_next_step_finishes_it; test_registry_faults
Ctrl-C anywhere                   test_ctrl_c_at_any_call_leaves_a_sound_registry;
                                  test_ctrl_c_at_any_call_leaves_no_half_written_file; test_export (every write);
                                  test_cli (before the first call)
two terminals                     test_of_two_terminals_one_hears_who_was_first; test_registry_histories; test_cli_up
read-only or full disk            test_a_disk_that_refuses_is_one_line; test_output_that_cannot_be_written_is_one_line;
                                  test_credentials_of_the_local_aws_that_cannot_be_read; test_export;
                                  test_cli_describe
port taken                        test_cli_up
no TTY                            test_without_a_terminal_nothing_asks_and_nothing_is_coloured
version missing, live already     test_a_change_that_cannot_be_is_refused; test_cli; test_registry_deploying
rollback with no predecessor      test_a_change_that_cannot_be_is_refused; test_deployment
a second rollback at once         test_a_second_rollback_at_once_goes_no_further
--operation for another change    test_an_operation_is_one_change
delete the live version           there is no such command; a sweep spares what is named: test_registry_faults
destructive in prod with --yes    test_a_protected_environment_deletes_only_with_yes
names and wrong arguments         test_every_command_refuses_a_name_that_is_none;
                                  test_a_wrong_argument_is_refused_with_what_is_allowed;
                                  test_a_number_that_is_none_is_refused_by_the_parser; test_cli_describe;
                                  test_import_mlflow_cli
tracebacks only with --debug      test_cli; every test here looks for one
================================  ====================================================================================
"""

import errno
import functools
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard import stack_names
from modelyard.admission import admit
from modelyard.aws.clients import Clients
from modelyard.cli.session import Session
from tests.fakes.aws_endpoint import EMPTY_TABLE, Answer, answering, identity, refusal, stack
from tests.fakes.broken_stores import Outage
from tests.fakes.command_line import CommandLine, Ended, Interrupted, child
from tests.fakes.invariants import Shelf
from tests.fakes.onnx_models import row_sum
from tests.fakes.registries import register

DEV, OTHER = "111122223333", "999999999999"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose model ``sums`` has three versions; 1 and then 2 became live."""
    return with_a_past(CommandLine(tmp_path / "project", monkeypatch, capsys))


def with_a_past(line: CommandLine) -> CommandLine:
    signature = admit_once()
    for number in (1, 2, 3):
        register(
            line.registry(), "sums", row_sum(float(number)), task="regression", signature=signature,
            metrics={"rmse": number / 10},
        )  # fmt: skip
    for number in (1, 2):
        line.registry("bob").promote("sums", number, reason=f"v{number}")
    for name in line.registry().models().items:
        line.registry().index(name.name)
    (line.folder / "NOTES.md").write_text("# Mind the sums\n")
    (line.folder / "three.onnx").write_bytes(row_sum(4.0))
    return line


@functools.cache
def admit_once() -> Any:
    return admit(row_sum())


def sound(line: CommandLine) -> Shelf:
    """The state of the model, when nothing about it is half done."""
    shelf = Shelf(line.records, line.artifacts, "sums")
    assert shelf.violations() == []
    return shelf


# -- who asks, and where ------------------------------------------------------------------------------------------


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


# -- cut off in the middle ----------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, ...]] = {
    "register": ("register", "sums", "three.onnx"),
    "register --promote": ("register", "sums", "three.onnx", "--promote"),
    "promote": ("promote", "sums", "3"),
    "rollback": ("rollback", "sums"),
    "rollback --to": ("rollback", "sums", "--to", "1"),
    "notes": ("notes", "sums", "--file", "NOTES.md"),
    "sweep": ("sweep", "--delete", "--older-than", "1"),
}


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], CommandLine]:
    """A project in a folder of this name, with an orphan to sweep; files are not tried again and again."""
    signature = admit_once()
    monkeypatch.setattr("modelyard.admission.admit", lambda _: signature)

    def made(name: str) -> CommandLine:
        line = with_a_past(CommandLine(tmp_path / name, monkeypatch, capsys))
        now = line.artifacts.clock
        line.artifacts.clock = lambda: now().replace(year=2000)
        line.artifacts.put_if_absent("artifacts/sha256/" + "0" * 64, b"orphan", content_type="x")
        line.artifacts.clock = now
        return line

    return made


def calls_of(make: Callable[[str], CommandLine], *arguments: str) -> tuple[int, list[str]]:
    """How many calls to the stores an undisturbed command makes, and what it leaves."""
    line = make("undisturbed")
    line.outage = Outage()
    line.run(*arguments).done()
    return len(line.outage.calls), sound(line).picture()


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it was applied"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_cut_at_any_call_is_said_and_the_next_step_finishes_it(
    make: Callable[[str], CommandLine], change: str, after: bool
) -> None:
    count, wanted = calls_of(make, *CHANGES[change])
    assert count >= 3
    for at in range(count):
        line = make(f"project-{at}")
        line.outage = Outage(at, after=after)
        ended = line.run(*CHANGES[change])
        line.outage = None
        sound(line)
        again = list(CHANGES[change])
        if ended.code != 0:
            ended.refused(5, "connection was cut")
            operation = re.search(r"--operation (\S+):", ended.next_steps[0])
            repeatable = change in ("promote", "rollback --to") and "may not follow yet" not in ended.causes[0]
            assert operation is not None or not repeatable
            again += ["--operation", operation[1]] if operation else []
        finished = line.run(*again)
        if finished.code != 0:
            assert "--operation" not in again
            finished.refused(4, *(("go further back",) if change == "rollback" else ("live already",)))
        shelf = sound(line)
        assert not shelf.pointer_is_behind()
        assert shelf.picture() == wanted, f"call {at}"
        assert change != "sweep" or len(line.artifacts.objects) == 4  # three artifacts and the pointer


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it was applied"])
@pytest.mark.parametrize("change", CHANGES)
def test_ctrl_c_at_any_call_leaves_a_sound_registry(
    make: Callable[[str], CommandLine], change: str, after: bool
) -> None:
    count, wanted = calls_of(make, *CHANGES[change])
    for at in range(count):
        line = make(f"project-{at}")
        line.outage = Interrupted(at, after=after)
        ended = line.run(*CHANGES[change])
        line.outage = None
        assert ended.code == 130
        assert "stopped" in ended.err
        if change != "rollback":  # it looks first whether somebody repeats one
            assert ("--operation" in ended.err) == (change in ("promote", "rollback --to"))
        assert "Traceback" not in ended.err
        sound(line)
        finished = line.run(*CHANGES[change])
        if finished.code != 0:
            finished.refused(4, *(("go further back",) if change == "rollback" else ("live already",)))
        shelf = sound(line)
        assert not shelf.pointer_is_behind()
        assert shelf.picture() == wanted, f"call {at}"


@pytest.mark.parametrize("command", ["card", "export"])
def test_ctrl_c_at_any_call_leaves_no_half_written_file(make: Callable[[str], CommandLine], command: str) -> None:
    arguments = ("card", "sums", "--output", "out") if command == "card" else ("export", "sums", "out")
    count, _ = calls_of(make, *arguments)
    for at in range(count):
        line = make(f"project-{at}")
        before, names = line.everything(), sorted(path.name for path in line.folder.iterdir())
        line.outage = Interrupted(at)
        ended = line.run(*arguments)
        line.outage = None
        assert (ended.code, "stopped" in ended.err) == (130, True)
        assert line.everything() == before
        assert sorted(path.name for path in line.folder.iterdir()) == names
    line.run(*arguments).done()
    assert (line.folder / "out").exists()


# -- two people ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "meanwhile"),
    [
        (("promote", "sums", "3"), lambda registry: registry.rollback("sums", reason="no good")),
        (("rollback", "sums"), lambda registry: registry.promote("sums", 3, reason="better")),
        (("notes", "sums", "--file", "NOTES.md"), lambda registry: registry.write_notes("sums", "mine")),
    ],
    ids=["promote", "rollback", "notes"],
)
def test_of_two_terminals_one_hears_who_was_first(
    line: CommandLine, arguments: tuple[str, ...], meanwhile: Callable[[Any], Any]
) -> None:
    class Slow(Outage):
        def call(self, name: str, act: Callable[[], Any], between_parts: Callable[[], Any] | None = None) -> Any:
            if name == "transact":
                meanwhile(line.registry("carol"))
            return act()

    line.outage = Slow()
    ended = line.run(*arguments)
    line.outage = None
    ended.refused(4, "carol")
    sound(line)
    line.run(*arguments).done()


# -- disks, terminals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        (("card", "sums", "--output", "card.md"), "write_text"),
        (("export", "sums", "out"), "write_bytes"),
        (("export", "sums", "out"), "mkdir"),
        (("notes", "sums", "--file", "NOTES.md"), "read_text"),
    ],
    ids=["card", "export", "export, its folder", "notes"],
)
def test_a_disk_that_refuses_is_one_line(
    line: CommandLine, arguments: tuple[str, ...], method: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, names = line.everything(), sorted(path.name for path in line.folder.iterdir())
    real = getattr(Path, method)

    def refuse(path: Path, *args: Any, **settings: Any) -> Any:
        if path.suffix in (".toml", ".py"):
            return real(path, *args, **settings)
        if method.startswith("write"):
            real(path, args[0][:7])  # as far as it went
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, method, refuse)
        line.run(*arguments).refused(1, os.strerror(number))
    assert line.everything() == before
    assert sorted(path.name for path in line.folder.iterdir()) == names
    line.run(*arguments).done()


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [("version",), ("--help",), ("promote", "--help")], ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(line: CommandLine, arguments: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        child(*arguments, folder=line.folder, stdout=full).refused(1, "No space left on device")


@pytest.mark.parametrize(
    ("arguments", "is_buffered"), [(("version",), True), (("version",), False), (("promote", "--help"), True)]
)
def test_a_reader_that_has_enough_ends_it_without_a_word(
    line: CommandLine, arguments: tuple[str, ...], is_buffered: bool
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = child(*arguments, folder=line.folder, is_buffered=is_buffered, stdout=writing)
    finally:
        os.close(writing)
    assert (ended.code, ended.err) == (1, "")


def test_a_name_that_is_no_text_is_shown_all_the_same(line: CommandLine) -> None:
    name = os.fsencode("\udcff.csv")
    (line.folder / os.fsdecode(name)).write_text("a,b\n")
    ended = line.run("lineage", "--file", os.fsdecode(name))
    assert "no version learnt from" in ended.done()


def test_without_a_terminal_nothing_asks_and_nothing_is_coloured(line: CommandLine) -> None:
    ended = child("--env", "prod", "sweep", "--delete", folder=line.folder, stdin=subprocess.DEVNULL)
    ended.refused(2, "protected against deletion")
    child("promote", "sums", "x", folder=line.folder).refused_by_the_parser("version")
    helped = child("--help", folder=line.folder)
    assert (helped.code, "\x1b" in helped.out) == (0, False)


def test_control_characters_of_a_name_do_not_reach_the_terminal(line: CommandLine) -> None:
    for arguments in (
        ("card", "sums", "--output", "no\x1b[2J\u202e/card.md"),
        ("notes", "sums", "--file", "\x1b[2J\u202e"),
        ("register", "sums", "\x1b[2J\u202e"),
        ("lineage", "--file", "\x1b[2J\u202e"),
        ("export", "sums", "no\x1b[2J/out"),
    ):
        cause = line.run(*arguments).refused(2)
        assert "\u202e" not in cause
        assert "\x1b" not in cause


# -- changes that cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("promote", "sums", "9"), 2, "no version 9; it has 1 to 3"),
        (("promote", "sums", "99999999999"), 2, "99999999999"),
        (("promote", "nobody", "1"), 2, "'nobody'"),
        (("promote", "sums", "2"), 4, "version 2 of model 'sums' is live already"),
        (("promote", "sums", "3", "--expected-revision", "1"), 4, "it is at revision 2: bob changed it"),
        (("rollback", "nobody"), 2, "'nobody'"),
        (("rollback", "sums", "--to", "3"), 4, "not an earlier champion"),
        (("rollback", "sums", "--to", "2"), 4, "live already"),
        (("rollback", "sums", "--to", "9"), 2, "no version 9"),
        (("rollback", "sums", "--expected-revision", "7"), 4, "not at revision 7"),
        (("--env", "prod", "promote", "sums", "3"), 2, "asks for a reason"),
        (("--env", "prod", "rollback", "sums", "--reason", " "), 2, "asks for a reason"),
        (("promote", "sums", "3", "--reason", "\u202e"), 2, "U+202E"),
        (("promote", "sums", "3", "--operation", ""), 2, "operation ''"),
        (("rollback", "sums", "--operation", "a/b"), 2, "operation 'a/b'"),
        (("promote", "sums", "3", "--operation", "x" * 200), 2, "at most 128"),
        (("notes", "nobody", "--file", "NOTES.md"), 2, "'nobody'"),
        (("notes", "sums", "--file", "NOTES.md", "--expected-revision", "4"), 4, "not at revision 4"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None,
)
def test_a_change_that_cannot_be_is_refused(
    line: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    before = line.everything()
    line.run(*arguments).refused(code, said)
    assert line.everything() == before
    line.run("promote", "sums", "3").done()


def test_without_a_live_version_or_a_predecessor_there_is_no_way_back(line: CommandLine) -> None:
    register(line.registry(), "fresh", b"fresh")
    line.run("rollback", "fresh").refused(4, "no live version")
    line.registry().promote("fresh", 1)
    line.run("rollback", "fresh").refused(4, "no predecessor")
    register(line.registry(), "fresh", b"fresh 2")
    line.run("promote", "fresh", "2").done()
    line.run("rollback", "fresh").done()


def test_a_second_rollback_at_once_goes_no_further(line: CommandLine) -> None:
    line.run("promote", "sums", "3").done()
    line.run("rollback", "sums").done()
    before = line.everything()
    ended = line.run("rollback", "sums")
    ended.refused(4, "you rolled sums back to version 2")
    assert "--to VERSION" in ended.next_steps[0]
    assert line.everything() == before
    assert "version 1 is live" in line.run("rollback", "sums", "--to", "1").done()


def test_an_operation_is_one_change(line: CommandLine) -> None:
    line.run("promote", "sums", "3", "--operation", "release-3").done()
    before = line.everything()
    assert "version 3 is live" in line.run("promote", "sums", "3", "--operation", "release-3").done()
    line.run("promote", "sums", "1", "--operation", "release-3").refused(4, "'release-3'", "was another change")
    line.run("rollback", "sums", "--operation", "release-3").refused(4, "'release-3'", "was another change")
    assert line.everything() == before
    assert "version 1 is live" in line.run("promote", "sums", "1", "--operation", "release-1").done()


def test_what_was_changed_is_said_whatever_is_in_the_folder(line: CommandLine) -> None:
    (line.folder / "models" / "sums" / "model.toml").write_text("[model")
    assert "version 3 is live" in line.run("promote", "sums", "3").done()
    register(line.registry(), "elsewhere", b"of another project")
    assert "elsewhere: versions" in line.run("versions", "elsewhere").done()


def test_a_protected_environment_deletes_only_with_yes(make: Callable[[str], CommandLine]) -> None:
    line = make("project")
    before = line.everything()
    ended = line.run("--env", "prod", "sweep", "--delete", "--older-than", "1")
    ended.refused(2, "'prod' is protected")
    assert "--yes" in ended.next_steps[0]
    assert "1 files (6 bytes)" in " ".join(line.run("--env", "prod", "sweep").done().split())
    assert line.everything() == before
    line.run("--env", "prod", "sweep", "--delete", "--yes", "--older-than", "1").done()
    assert len(line.artifacts.objects) == len(before["objects"]) - 1
    sound(line)


# -- wrong arguments ----------------------------------------------------------------------------------------------

NAMES = ("../x", "a/b", "a\0b", "\u202esums", "a" * 256, "Sums", "")
OF_A_NAME: dict[str, Callable[[str], tuple[str, ...]]] = {
    "register": lambda name: ("register", name, "three.onnx"),
    "import": lambda name: ("import", "mlflow", "m", "--name", name),
    "upload": lambda name: ("upload", name, "x.csv"),
    "versions": lambda name: ("versions", name),
    "versions --metric": lambda name: ("versions", name, "--metric", "rmse<=1"),
    "history": lambda name: ("history", name),
    "history --at": lambda name: ("history", name, "--at", "2026-11-21T10:00:00Z"),
    "promote": lambda name: ("promote", name, "1"),
    "rollback": lambda name: ("rollback", name),
    "notes": lambda name: ("notes", name),
    "notes --file": lambda name: ("notes", name, "--file", "NOTES.md"),
    "diff": lambda name: ("diff", name, "1", "2"),
    "card": lambda name: ("card", name),
    "export": lambda name: ("export", name),
    "lineage": lambda name: ("lineage", name),
}


@pytest.mark.parametrize("command", OF_A_NAME)
def test_every_command_refuses_a_name_that_is_none(line: CommandLine, command: str) -> None:
    before = line.everything()
    for name in NAMES:
        cause = line.run(*OF_A_NAME[command](name)).refused(2, "not a model name")
        assert cause.isascii()
    assert line.everything() == before


@pytest.mark.parametrize("command", [command for command in OF_A_NAME if command not in ("import", "upload")])
def test_every_command_refuses_a_model_that_is_missing(line: CommandLine, command: str) -> None:
    line.run(*OF_A_NAME[command]("nobody")).refused(2, "'nobody'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", "A B"), "'A B' begins no model's name"),
        (("search", "\x1b[2J"), "begins no model's name"),
        (("search", "--task", "magic"), "'magic' is not one of regression"),
        (("search", "--task", ""), "'' is not one of regression"),
        (("search", "--owner", "a\nb"), "owner has U+000A"),
        (("search", "--owner", "x" * 1001), "at most 1000"),
        (("search", "--tag", "A B"), "'A B' is not a tag"),
        (("search", "--tag", ""), "'' is not a tag"),
        *(
            (("search", "--metric", bound), "not a metric with a finite bound")
            for bound in ("rmse>=nan", "rmse<=1e400", "rmse>=-inf", "", "rmse", "rmse>=", ">=1", "rmse=1", "rmse>=x")
        ),
        (("search", "--metric", "\u202ermse>=1"), "metric has U+202E"),
        (("search", "--metric", f"{'m' * 201}>=1"), "at most 200"),
        *(
            (("versions", "sums", "--metric", bound), "not a metric with a finite bound")
            for bound in ("rmse>=nan", "rmse<=1e400", "", ">=1")
        ),
        (("versions", "sums", "--metric", "\x1brmse>=1"), "metric has U+001B"),
        *(
            ((*command, version), "is not a version number, which is a whole number from 1 to 99999999")
            for version in ("sums:0", "sums:-1", "sums:99999999999", "sums:1.0", "sums:nan", "sums:1e400", "sums:")
            for command in (("card",), ("lineage",), ("export",), ("diff", "sums:1"))
        ),
        (("diff", "sums", "1", "9"), "no version 9; it has 1 to 3"),
        (("card", "sums:9"), "no version 9"),
        (("lineage", "sums:9"), "no version 9"),
        (("lineage",), "give a version, or a file"),
        (("lineage", "sums", "--file", "NOTES.md"), "give a version, or a file"),
        (("lineage", "--file", "none.csv"), "'none.csv' is neither a file nor a SHA-256"),
        (("lineage", "--file", "ab12"), "neither a file nor a SHA-256"),
        (("lineage", "--file", ""), "neither a file nor a SHA-256"),
        (("notes", "sums", "--file", "NOTES.md", "--clear"), "say different things"),
        (("notes", "sums", "--file", "none.md"), "not a file"),
        (("notes", "sums", "--file", "models"), "not a file"),
        (("notes", "sums", "--file", "three.onnx"), "not UTF-8 at byte"),
        (("notes", "sums", "--file", "long.md"), "has 10001 characters; at most 10000"),
        (("notes", "sums", "--file", "garbled.md"), "U+202E"),
        (("history", "sums", "--at", "yesterday"), "'yesterday' is not a time; write it like"),
        (("history", "sums", "--at", ""), "'' is not a time"),
        (("history", "sums", "--at", "2026-11-21T10:00:00"), "has no time zone"),
        (("history", "sums", "--at", "2026-02-30T10:00:00Z"), "is not a time"),
        (("history", "sums", "--at", "9999-12-31T23:59:59-14:00"), "outside the calendar"),
        (("history", "sums", "--at", "\u202e2026"), "is not a time"),
        (("predict", "sums", "@none.json"), "not a file"),
        (("predict", "sums", "@three.onnx"), "not UTF-8"),
        (("predict", "sums", "[" * 100_000), "not JSON"),
        (("predict", "sums", "5"), "give a JSON list of instances"),
    ],
    ids=lambda value: ascii(" ".join(value))[:60] if isinstance(value, tuple) else None,
)
def test_a_wrong_argument_is_refused_with_what_is_allowed(
    line: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    (line.folder / "long.md").write_text("x" * 10_001)
    (line.folder / "garbled.md").write_text("see \u202e")
    (line.folder / "three.onnx").write_bytes(b"\x80" + row_sum())
    before = line.everything()
    line.run(*arguments).refused(2, said)
    assert line.everything() == before


@pytest.mark.parametrize(
    "arguments",
    [
        *(("promote", "sums", number) for number in ("0", "x", "1.5", "1e400", "nan", "", "9" * 5000)),
        ("promote", "sums", "--", "-1"),
        ("promote", "sums"),
        ("rollback", "sums", "--to", "0"),
        ("promote", "sums", "1", "--expected-revision", "-1"),
        ("notes", "sums", "--clear", "--expected-revision", "-1"),
        *(("search", "--limit", limit) for limit in ("0", "-1", "501", "nan")),
        ("versions", "sums", "--limit", "99999999999"),
        ("history", "sums", "--limit", "0"),
        *(("sweep", "--older-than", days) for days in ("0", "-1", "3651", "1e400", "99999999999999999999")),
        ("diff",),
        ("card",),
        ("export",),
        ("import", "mlflow"),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_a_number_that_is_none_is_refused_by_the_parser(line: CommandLine, arguments: tuple[str, ...]) -> None:
    before = line.everything()
    ended: Ended = line.run(*arguments)
    ended.refused_by_the_parser()
    assert line.everything() == before


def test_a_made_up_start_of_a_page_shows_nothing_else(line: CommandLine) -> None:
    line.run("search", "--start", "x" * 5000).refused(2, "start has 5000 characters")
    line.run("search", "--start", "zzz").refused(2, "start 'zzz' is not from a page of this search")
    assert "sums" in line.run("search").done()
