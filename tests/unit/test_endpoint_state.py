"""After an update the configuration's name is compared, not only the status."""

from pathlib import Path
from typing import Any

import pytest

from modelyard import stack_names
from modelyard.aws.sagemaker import SageMakerEndpoints
from modelyard.cli.hosted import check_endpoint
from modelyard.cli.session import Session
from modelyard.endpoint_state import EndpointState, problem_of
from modelyard.errors import ConflictError, ModelyardError
from tests.fakes.command_line import CommandLine
from tests.fakes.sagemaker_endpoints import FakeSageMaker

NAME = "modelyard-prod-realtime-model-m"
HEAD = '[model]\nname = "m"\ntask = "regression"\nartifact = "m.onnx"\n[endpoint]\n'


def found(status: str = "InService", configuration: str = "new", reason: str = "") -> ConflictError | None:
    state = EndpointState(NAME, status, configuration, reason)
    return problem_of(state, name=NAME, wanted="new", deploy="cdk deploy X")


def test_an_endpoint_that_runs_what_it_was_given_is_in_order() -> None:
    assert found() is None


def test_in_service_on_the_configuration_before_is_found() -> None:
    problem = found(configuration="old", reason="Alarm ReleaseErrors fired")
    assert problem is not None
    assert problem.code == "endpoint_on_old_configuration"
    for said in (NAME, "old", "new", "Alarm ReleaseErrors fired"):
        assert said in problem.message
    assert "cdk deploy X" in str(problem.next_step)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Updating", "endpoint_moving"),
        ("Creating", "endpoint_moving"),
        ("RollingBack", "endpoint_moving"),
        ("Failed", "endpoint_not_in_service"),
        ("OutOfService", "endpoint_not_in_service"),
        ("UpdateRollbackFailed", "endpoint_not_in_service"),
        ("SomethingOfTomorrow", "endpoint_not_in_service"),
    ],
)
def test_any_other_status_is_said(status: str, code: str) -> None:
    problem = found(status)
    assert problem is not None
    assert (problem.code, status in problem.message) == (code, True)


def test_every_status_that_sagemaker_has_is_judged() -> None:
    import boto3

    client = boto3.session.Session().client("sagemaker", region_name="eu-west-1")
    statuses = client.meta.service_model.shape_for("EndpointStatus").enum
    assert "InService" in statuses
    assert [status for status in statuses if found(status) is None] == ["InService"]


@pytest.fixture
def sagemaker() -> FakeSageMaker:
    return FakeSageMaker()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sagemaker: FakeSageMaker) -> Any:
    """A session in prod of a project with one model, as its endpoint says."""

    def made(endpoint: str, outputs: dict[str, dict[str, str]], environment: str = "prod") -> Session:
        (tmp_path / "environments.toml").write_text(
            '[local]\naccount = "000000000000"\nregion = "eu-west-1"\nport = 4599\n'
            '[prod]\naccount = "444455556666"\nregion = "eu-west-1"\n'
        )
        folder = tmp_path / "models" / "m"
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text(HEAD + endpoint)
        (folder / "m.onnx").touch()

        class Clients:
            def client(self, service: str) -> FakeSageMaker:
                assert service == "sagemaker"
                return sagemaker

        monkeypatch.setattr(Session, "outputs", lambda _, stack: outputs[stack])
        monkeypatch.setattr(Session, "clients", property(lambda _: Clients()))
        return Session(environment, start=tmp_path, environ={})

    return made


def test_doctor_finds_an_endpoint_that_went_back_after_a_failed_update(session: Any, sagemaker: FakeSageMaker) -> None:
    outputs = {stack_names.SAGEMAKER_ENDPOINT: NAME, stack_names.SAGEMAKER_CONFIG: "first"}
    opened = session('target = "sagemaker-realtime"\n', {"Modelyard-prod-Endpoint-m": outputs})
    sagemaker.create(NAME, "first")
    check_endpoint(opened, "m")
    outputs[stack_names.SAGEMAKER_CONFIG] = "second"
    sagemaker.update(NAME, "second", fails="an alarm fired")
    with pytest.raises(ConflictError, match="InService with configuration first, and was last given second") as refused:
        check_endpoint(opened, "m")
    assert refused.value.code == "endpoint_on_old_configuration"
    assert "cdk deploy Modelyard-prod-Endpoint-m -c env=prod" in str(refused.value.next_step)
    sagemaker.update(NAME, "second")
    check_endpoint(opened, "m")


def test_a_shared_server_is_looked_for_in_the_stack_of_its_host(session: Any, sagemaker: FakeSageMaker) -> None:
    outputs = {stack_names.SAGEMAKER_ENDPOINT: "shelf", stack_names.SAGEMAKER_CONFIG: "first"}
    opened = session('target = "sagemaker-realtime"\nhost = "big_shelf"\n', {"Modelyard-prod-Host-big-shelf": outputs})
    with pytest.raises(ConflictError, match="no endpoint shelf") as refused:
        check_endpoint(opened, "m")
    assert refused.value.code == "endpoint_missing"
    sagemaker.create("shelf", "first")
    check_endpoint(opened, "m")


def test_nobody_asks_sagemaker_about_a_function(session: Any, sagemaker: FakeSageMaker) -> None:
    sagemaker.refuses = "AccessDeniedException"
    check_endpoint(session('target = "lambda"\n', {}), "m")


def test_nobody_asks_sagemaker_about_this_machine(session: Any, sagemaker: FakeSageMaker) -> None:
    sagemaker.refuses = "AccessDeniedException"
    check_endpoint(session('target = "sagemaker-async"\n', {}, "local"), "m")


def test_who_may_not_look_is_told_so_in_our_words(sagemaker: FakeSageMaker) -> None:
    sagemaker.refuses = "AccessDeniedException"
    with pytest.raises(ModelyardError, match=f"look at endpoint {NAME}"):
        SageMakerEndpoints(sagemaker).state(NAME)


def test_the_doctor_asks_after_the_endpoint_of_every_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sagemaker: FakeSageMaker
) -> None:
    there = CommandLine(tmp_path / "project", monkeypatch, capsys)
    file = there.folder / "models" / "sums" / "model.toml"
    file.write_text(file.read_text() + '[endpoint]\ntarget = "sagemaker-realtime"\n')
    outputs = {stack_names.SAGEMAKER_ENDPOINT: NAME, stack_names.SAGEMAKER_CONFIG: "second", "Url": "https://x"}
    outputs |= {"RegistryTable": "t", "ReportFunction": "r"}

    class Clients:
        def client(self, service: str) -> Any:
            return sagemaker if service == "sagemaker" else self

        def get_metric_data(self, **_: Any) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(Session, "outputs", lambda *_: outputs)
    monkeypatch.setattr(Session, "clients", property(lambda _: Clients()))
    sagemaker.create(NAME, "first")
    there.run("--env", "prod", "doctor").refused(4, "InService with configuration first")
    sagemaker.update(NAME, "second")
    assert "endpoint_on_old_configuration" not in there.run("--env", "prod", "doctor").out
