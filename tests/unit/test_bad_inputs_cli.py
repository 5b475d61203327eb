"""Everything that goes wrong around a command: one line of cause, one line of what to run next, safe to run again.

The entries of "CLI" in the list of bad inputs, and the tests that cover them. Those without a file are here, or in
..._accounts (1), ..._cut_off (2) and ..._terminals (3) beside this file.

================================  ====================================================================================
no, expired, unknown credentials  test_credentials_that_do_not_work_end_with_3 (1); test_aws_clients;
                                  test_aws_failures
wrong account, wrong region,      test_what_is_wrong_with_the_account_is_named_and_the_right_one_works (1)
not deployed, throttled
not bootstrapped                  cdk says so itself, before Modelyard runs; test_cli: 'up' elsewhere than local
offline                           test_offline_is_one_line (1); test_what_answers_may_be_no_aws (1); test_aws_failures
connection cut in the middle      test_a_cut_at_any_call_is_said_and_the_next_step_finishes_it (2);
                                  test_registry_faults
Ctrl-C anywhere                   test_ctrl_c_at_any_call_leaves_a_sound_registry (2);
                                  test_ctrl_c_at_any_call_leaves_no_half_written_file (2); test_export (every write);
                                  test_cli (before the first call)
two terminals                     test_of_two_terminals_one_hears_who_was_first (2); test_registry_histories;
                                  test_cli_up
read-only or full disk            test_a_disk_that_refuses_is_one_line (3);
                                  test_output_that_cannot_be_written_is_one_line (3);
                                  test_credentials_of_the_local_aws_that_cannot_be_read (1); test_export;
                                  test_cli_describe
port taken                        test_cli_up
no TTY                            test_without_a_terminal_nothing_asks_and_nothing_is_coloured (3)
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
tracebacks only with --debug      test_cli; every test here, in (1), (2) and (3) looks for one
================================  ====================================================================================
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command_line import CommandLine, Ended
from tests.fakes.command_line_past import sound, with_a_past, with_an_orphan
from tests.fakes.onnx_models import row_sum
from tests.fakes.registries import register


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose model ``sums`` has three versions; 1 and then 2 became live."""
    return with_a_past(CommandLine(tmp_path / "project", monkeypatch, capsys))


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
        (("trial", "sums", "3"), 2, "one of --shadow, --share and --end"),
        (("trial", "sums", "3", "--shadow", "--share", "5"), 2, "one of --shadow, --share and --end"),
        (("trial", "sums", "--shadow"), 2, "--shadow needs a VERSION"),
        (("trial", "sums", "3", "--end"), 2, "--end takes no VERSION"),
        (("trial", "sums", "--share", "5"), 2, "neither PERCENT beside a VERSION"),
        (("trial", "sums", "3", "--share", "3=5"), 2, "neither PERCENT beside a VERSION"),
        (("trial", "sums", "--share", "x=5"), 2, "neither PERCENT beside a VERSION"),
        (("trial", "sums", "--share", "3=5", "--share", "3=6"), 2, "version 3 twice"),
        (("trial", "sums", "3", "--share", "0"), 2, "percent from 0.01 to 99.99"),
        (("trial", "sums", "3", "--share", "nan"), 2, "percent from 0.01 to 99.99"),
        (("trial", "sums", "3", "--share", "1.005"), 2, "at most two decimals"),
        (("trial", "sums", "--share", "1=50", "--share", "3=50"), 2, "left for the champion"),
        (("trial", "sums", "9", "--shadow"), 2, "no version 9"),
        (("trial", "sums", "2", "--shadow"), 4, "version 2 of model 'sums' is live already"),
        (("trial", "sums", "--end"), 4, "no version on trial"),
        (("trial", "nobody", "--end"), 2, "'nobody'"),
        (("trial", "sums", "3", "--shadow", "--expected-revision", "1"), 4, "it is at revision 2: bob changed it"),
        (("trial", "sums", "3", "--shadow", "--operation", "a/b"), 2, "operation 'a/b'"),
        (("--env", "prod", "trial", "sums", "3", "--shadow"), 2, "asks for a reason"),
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


def test_a_trial_is_started_changed_and_ended_by_one_command(line: CommandLine) -> None:
    said = line.run("trial", "sums", "3", "--shadow", "--reason", "look at it").done()
    assert "version 2 is live" in said
    assert "on trial: version 3 answers as well, unseen" in said
    assert (
        "on trial: version 3 answers 0.5 % of the requests" in line.run("trial", "sums", "3", "--share", "0.5").done()
    )
    line.run("trial", "sums", "3", "--share", "0.50").refused(4, "on trial already (canary, 0.5 %)")
    said = line.run("trial", "sums", "--share", "3=10", "--share", "1=10", "--operation", "ab-1").done()
    assert "version 1 answers 10 % of the requests" in said
    assert "version 3 answers 10 % of the requests" in said
    assert line.run("trial", "sums", "--share", "1=10", "--share", "3=10", "--operation", "ab-1").done() == said
    assert "on trial" not in line.run("trial", "sums", "--end", "--reason", "worse").done()
    line.run("trial", "sums", "--end").refused(4, "no version on trial")


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


def test_a_protected_environment_deletes_only_with_yes(line: CommandLine) -> None:
    with_an_orphan(line)
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
    "replay": lambda name: ("replay", name),
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
