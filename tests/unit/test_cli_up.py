"""What ``up`` takes away, what it says of a training that failed, and that what it proposes would work."""

import hashlib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from modelyard.cli import up
from modelyard.errors import ModelyardError, UsageError
from modelyard.local.cdk import Cdk, _telling
from modelyard.packaging.progress import BuildProgress
from modelyard.spec import Model, load_model
from tests.fakes.registries import Yard, register
from tests.fakes.training_data import WEATHER


class Stacks:
    """CloudFormation as far as it is asked here."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.deleted: list[str] = []

    def get_paginator(self, _operation: str) -> Any:
        stacks = [{"StackName": name, "StackId": name} for name in self.names]
        return SimpleNamespace(paginate=lambda: [{"Stacks": stacks}])

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 - boto3's own spelling
        self.names.remove(StackName)
        self.deleted.append(StackName)

    def get_waiter(self, _name: str) -> Any:
        return SimpleNamespace(wait=lambda **_: None)


def model_of(name: str, *, trained: bool = False, mode: str = "all_at_once") -> Any:
    training = SimpleNamespace() if trained else None
    return SimpleNamespace(
        name=name, spec=SimpleNamespace(training=training, rollout=SimpleNamespace(mode=mode), kind=None)
    )


def test_stacks_of_a_model_without_folder_are_removed_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [
        "CDKToolkit",
        "Modelyard-local-Registry",
        "Modelyard-local-Api",
        "Modelyard-local-Endpoint-digits",
        "Modelyard-local-Endpoint-iris",
        "Modelyard-local-Retraining-iris",
        "Modelyard-local-Rollout-iris",
        "Modelyard-dev-Endpoint-wine",
        "Somebody-elses",
    ]
    wine = ["Modelyard-local-Endpoint-wine", "Modelyard-local-Rollout-wine", "Modelyard-local-Retraining-wine"]
    stacks = Stacks(*kept, *wine, "Modelyard-local-Rollout-digits")
    clients = SimpleNamespace(client=lambda _service: stacks)
    monkeypatch.setattr(up, "_root", lambda _session: clients)
    session: Any = SimpleNamespace(name="local")
    models: Any = [model_of("digits"), model_of("iris", trained=True, mode="gradual")]
    assert up._remove_stacks_without_model(session, models) is True
    assert stacks.names == kept
    assert stacks.deleted == [
        "Modelyard-local-Retraining-wine",
        "Modelyard-local-Rollout-digits",
        "Modelyard-local-Rollout-wine",
        "Modelyard-local-Endpoint-wine",
    ], "what uses another stack's exports goes before it"
    assert up._remove_stacks_without_model(session, models) is False


def test_what_the_build_goes_without_is_said_and_no_other_line_of_cdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deploy(_cdk: Cdk, report: Callable[[str], None]) -> None:
        progress = BuildProgress(Console(file=(said := StringIO()), width=40))
        progress.without_native("x86_64", "no C compiler for x86_64")
        progress.without_bytecode("3.13")
        progress.finished(4, 0)
        for line in said.getvalue().splitlines():
            report(line)

    monkeypatch.setattr(Cdk, "deploy", deploy)
    stacks = Stacks("CDKToolkit", "Modelyard-local-Api")
    monkeypatch.setattr(up, "_root", lambda _session: SimpleNamespace(client=lambda _service: stacks))
    local = SimpleNamespace(endpoint="http://127.0.0.1:1", port=1)
    session: Any = SimpleNamespace(
        project=Path(), home=Path(), local_aws=local, settings=SimpleNamespace(region="eu-west-1")
    )
    up._deploy(session)
    told = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()[1:]]
    assert told == ["Note: no C compiler for x86_64", "Warning: no Python 3.13 on this machine"]


def test_a_deployment_that_fails_says_what_the_build_said_to_do_next() -> None:
    said = ["lean: 43 MB", "modelyard: a layer is damaged", "  next: Delete it.", "exited with error 2"]
    assert _telling(said) == said[1:]


# -- a training that fails ----------------------------------------------------------------------------------------

NAME = "seattle_weather"


class Session:
    """As much of the command line's session as bringing models to life takes."""

    def __init__(self, home: Path) -> None:
        self.name, self.home = "local", home
        self.registry = Yard().registry()
        self.settings = SimpleNamespace(region="eu-west-1", server_port=1)
        self.local_aws = SimpleNamespace(start=lambda: "running", stop=lambda: None, endpoint="http://127.0.0.1:1")

    def predict_url(self, name: str) -> str:
        return f"http://127.0.0.1:1/models/{name}/predict"


ask = up._ask  # the real one; a session's tests put another in its place


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for step in ("_deploy", "_remove_stacks_without_model", "_make_developer"):
        monkeypatch.setattr(up, step, lambda *_: False)
    monkeypatch.setattr(up, "_ask", lambda _session, model, _refused: [model.name, "none", 0, "", "url"])
    monkeypatch.setattr(up, "send_file", lambda *_: ("key", "v1"))
    return Session(tmp_path)


@pytest.fixture
def weather() -> Model:
    return load_model(WEATHER)


def live(session: Any, versions: int = 1) -> None:
    for number in range(1, versions + 1):
        register(session.registry, NAME, f"model {number}".encode())
    session.registry.promote(NAME, versions)


def accepted(session: Any, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    session.registry.add_dataset_file(
        NAME, bucket="b", key=file.name, version_id="v", sha256=digest, rows=9, size=9, run_id=f"run-{file.stem}"
    )


def test_a_training_that_failed_lets_the_rest_go_on_and_ends_with_1(
    session: Any, weather: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def wait(_session: Any, name: str, *_: str, **__: str) -> Any:
        trained.append(name)
        return SimpleNamespace(status="failed", reason="no space left")

    monkeypatch.setattr(up, "wait_for_run", wait)
    with pytest.raises(
        ModelyardError, match=f"training of {NAME} failed, and nothing of it is live: no space"
    ) as ended:
        up._bring_up(session, [weather, weather])
    assert trained == [NAME, NAME]
    assert ended.value.exit_code == 1
    assert ended.value.next_step == f"Run 'modelyard logs {NAME} --step all', then 'make up' again."
    shown = capsys.readouterr().out
    assert "modelyard status" in shown
    for vain in ("upload", "history", "rollback", "predict"):
        assert f"modelyard {vain}" not in shown


def proposed(session: Any, model: Model, capsys: pytest.CaptureFixture[str]) -> list[str]:
    up._show_next(session, [model])
    return [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  modelyard ")]


def test_a_file_is_proposed_until_it_was_accepted_and_a_rollback_where_it_can_be(
    session: Any, weather: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [*weather.training_files(), *sorted(weather.folder.glob("new/*.csv"))]
    live(session)
    accepted(session, files[0])
    assert proposed(session, weather, capsys) == ["upload", "history", "rollback", "predict", "status"]
    for file in files[1:]:
        accepted(session, file)
    assert proposed(session, weather, capsys) == ["history", "predict", "status"]
    live(session, 2)
    assert proposed(session, weather, capsys) == ["history", "rollback", "predict", "status"]
    session.registry.rollback(NAME)
    assert proposed(session, weather, capsys) == ["history", "predict", "status"]


def test_the_closing_table_counts_versions_of_which_none_is_live(session: Any) -> None:
    model: Any = SimpleNamespace(name=NAME)
    assert ask(session, model, [])[:3] == [NAME, "none", 0], "its first training was rejected"
    for number in (1, 2):
        register(session.registry, NAME, f"model {number}".encode())
    assert ask(session, model, [])[:3] == [NAME, "none", 2]


def test_a_version_that_is_not_live_is_said_with_how_to_promote_it(
    session: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live(session)
    registered = SimpleNamespace(version=SimpleNamespace(number=4), created=True)
    monkeypatch.setattr(up, "register_artifact", lambda *_: registered)
    spec = SimpleNamespace(training=None, rollout=SimpleNamespace(mode="all_at_once"))
    model: Any = SimpleNamespace(name=NAME, spec=spec)
    assert up._bring_to_life(session, model, {}) is True
    said = " ".join(capsys.readouterr().err.split())
    assert "version 4 registered; version 1 stays live until you run: modelyard promote seattle_weather 4" in said


def test_an_example_that_is_refused_lets_the_rest_go_on_and_is_named_with_its_file(
    session: Any, weather: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live(session)
    problem = {"detail": "'plan' of instance 0 is '0'; allowed are 'basic', 'pro'", "code": "unknown_category"}
    well = {"version": 1, "predictions": ["sun"]}
    answers = [SimpleNamespace(status=200, body=well), SimpleNamespace(status=422, body=problem)]
    session.clients = None
    monkeypatch.setattr("modelyard.aws.signed.ask", lambda *_, **__: answers.pop())
    monkeypatch.setattr(up, "check_pointer", lambda *_: None)
    monkeypatch.setattr(up, "_ask", ask)
    monkeypatch.chdir(weather.folder)
    with pytest.raises(UsageError) as ended:
        up._bring_up(session, [weather, weather])
    assert ended.value.message == f"{NAME} did not answer its example: the endpoint answered 422: {problem['detail']}"
    assert ended.value.next_step == "Put a request that works into example.json, then run 'make up' again."
    shown = capsys.readouterr()
    assert [line[0] for line in shown.err.splitlines() if "Ask" in line] == ["\N{BALLOT X}", "\N{CHECK MARK}"]
    assert "modelyard status" in shown.out
