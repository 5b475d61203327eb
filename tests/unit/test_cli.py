"""How commands end: exit codes, one line of cause, one line of what to run next; before any AWS call."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from modelyard.cli import look, main, models, session, show
from modelyard.errors import AWSError, ConflictError, CredentialsError, ModelyardError, NotFoundError

PROJECT = Path(__file__).parents[2]
MODELS = sorted(spec.parent.name for spec in PROJECT.glob("models/*/model.toml"))  # a clone may have others of its own


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """In the project's folder, with a state folder that is empty and credentials that are nobody's."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MODELYARD_ENV", raising=False)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(list(arguments))
    code = ended.value.code
    return code if isinstance(code, int) else 0 if code is None else 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "nonsense"),
        (["promote", "digits", "one"], 2, "integer"),
        (["promote", "digits", "0"], 2, "greater than or equal to 1"),
        (["--env", "nowhere", "status"], 2, "local, dev, prod"),
        (["--env", "dev", "up"], 2, "cdk deploy --all -c env=dev"),
        (["versions", "digits"], 5, "make up"),
        (["upload", "digits", "x.csv"], 2, "not trained"),
        (["upload", "seattle_weather", "no_such.csv"], 2, "no_such.csv"),
        (["register", "seattle_weather"], 2, "modelyard upload"),
        (["register", "digits", "no_such.onnx"], 2, "no_such.onnx"),
        (["register", "unknown"], 2, f"there are {', '.join(MODELS)}"),
        (["--env", "prod", "promote", "digits", "1"], 2, "--reason"),
        (["--env", "prod", "rollback", "digits"], 2, "--reason"),
        (["--env", "prod", "versions", "digits"], 3, "credentials"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_refused_with_a_cause_and_a_next_step(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version") == 0
    assert capsys.readouterr().out.startswith("modelyard 0.")


def test_outside_a_project_it_says_where_to_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("status") == 2
    assert "environments.toml" in capsys.readouterr().err


def test_it_works_from_a_folder_below_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT / "models" / "digits")
    assert session.Session("local", start=Path.cwd()).project == PROJECT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("x"), 2),
        (CredentialsError("x"), 3),
        (ConflictError("x"), 4),
        (AWSError("x"), 5),
        (ModelyardError("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_kind_of_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: ModelyardError, code: int
) -> None:
    def fails(_self: Any) -> Any:
        raise error

    monkeypatch.setattr(session.Session, "models", property(fails))
    assert run("status") == code


def test_a_traceback_comes_with_debug_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_self: Any) -> Any:
        raise AWSError("the cause")

    monkeypatch.setattr(session.Session, "models", property(fails))
    with pytest.raises(AWSError, match="the cause"):
        main.main(["--debug", "status"])


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_self: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "models", property(interrupted))
    assert run("status") == 130
    assert "run the command again" in " ".join(capsys.readouterr().err.split())


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(_self: Any) -> Any:
        raise OSError(28, "No space left on device", "somewhere/file")

    monkeypatch.setattr(session.Session, "models", property(full))
    assert run("status") == 1
    assert "No space left on device (somewhere/file)" in " ".join(capsys.readouterr().err.split())


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in main.app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert run(name, "--help") == 0
        assert (command.callback.__doc__ or "").split(".")[0].split()[0] in capsys.readouterr().out


def test_a_long_last_column_stands_whole_below_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:4599/" + "x" * 200
    show.table("Models", ["model", "live"], [["digits", 1, url], ["weather", None, None]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == ["Models", "model    live", "digits   1", f"  {url}", "weather"]


@pytest.mark.parametrize(
    ("actor", "shown"),
    [
        ("arn:aws:iam::000000000000:user/ana", "ana"),
        ("arn:aws:sts::0:assumed-role/R/Modelyard-local-Retraining-m-RetrainingPromote", "retraining"),
        ("arn:aws:sts::0:assumed-role/Admin/ana@example.com", "ana@example.com"),
        ("arn:aws:iam::000000000000:root", "arn:aws:iam::000000000000:root"),
    ],
)
def test_who_is_one_word_where_it_can_be(actor: str, shown: str) -> None:
    assert show.who(actor) == shown


def test_values_shown_to_people_are_short() -> None:
    assert models.brief({"p": 0.12345678, "of": ["a", 1]}) == '{"p": 0.1235, "of": ["a", 1]}'
    assert len(models.brief("x" * 500)) <= 100


def test_a_refusal_of_the_endpoint_keeps_its_words() -> None:
    error = models.refusal(422, {"detail": "bad pixels", "code": "c", "next_step": "do"})
    assert (error.code, error.next_step, error.exit_code) == ("c", "do", 2)
    assert "bad pixels" in error.message
    assert models.refusal(403, {"message": "Forbidden"}).exit_code == 3
    assert models.refusal(500, "oops").exit_code == 1


def test_commands_registered_are_the_ones_that_the_readme_names() -> None:
    names = {command.name or command.callback.__name__ for command in main.app.registered_commands if command.callback}
    wanted = """up down status init register upload train runs dataset report reproduce predict feedback versions
        history promote rollback trial replay approve reject diff card export search lineage notes
        sweep logs doctor place serve build version release"""
    assert names == set(wanted.split())
    assert {group.name for group in main.app.registered_groups} == {"import", "rollout"}
    assert isinstance(main.app, typer.Typer)
    assert look.status.__doc__
