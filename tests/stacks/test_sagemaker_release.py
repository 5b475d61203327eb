"""How SageMaker moves endpoints to new code: steps, and the alarms without which none is ever taken back."""

import json
from typing import Any, get_args

import pytest

from modelyard.environments import CodeRelease
from modelyard.release_override import ALARMS, VALID, ReleaseOverride
from modelyard.spec import parse_model
from modelyard.times import stamp, utc_now
from stacks.sagemaker_release import LONGEST_S, LONGEST_WAIT_S, Steps, deployment_config
from tests.stacks.sagemaker_project import MODEL, MODELS, Assembly, assembly_of, write_project

ENDINGS = ("Endpoint-steady", "Endpoint-single", "Endpoint-rare", "Endpoint-long", "Endpoint-graphic", "Host-shelf")


class Alarm:
    """All that a deployment needs of one."""

    alarm_name = "some-alarm"


def policy(release: CodeRelease, endpoint: str) -> Any:
    spec = parse_model(MODEL.format(name="m", more="", endpoint=endpoint), file="model.toml")
    found = deployment_config(release, spec, [Alarm()])  # type: ignore[list-item]
    return None if found is None else found.blue_green_update_policy


def many(least: int) -> str:
    return f'target = "sagemaker-realtime"\n[server]\nmin_instances = {least}\nmax_instances = {least + 5}\n'


@pytest.mark.parametrize("ending", ENDINGS)
def test_where_traffic_is_watched_alarms_exist_and_are_on_that_endpoint(sagemaker_dev: Assembly, ending: str) -> None:
    endpoint = sagemaker_dev.only(ending, "AWS::SageMaker::Endpoint")
    config = endpoint["DeploymentConfig"]
    assert config["BlueGreenUpdatePolicy"]
    watched = [alarm["AlarmName"]["Ref"] for alarm in config["AutoRollbackConfiguration"]["Alarms"]]
    assert 1 <= len(watched) <= 10
    alarms = sagemaker_dev.of(ending, "AWS::CloudWatch::Alarm")
    assert set(watched) <= alarms.keys()
    seen = set()
    for name in watched:
        assert alarms[name].get("ActionsEnabled", True)
        for metric in alarms[name]["Metrics"]:
            about = metric.get("MetricStat", {}).get("Metric", {})
            if about.get("Namespace") == "AWS/SageMaker":
                seen.add(about["MetricName"])
                dimensions = {pair["Name"]: pair["Value"] for pair in about["Dimensions"]}
                assert dimensions == {"EndpointName": endpoint["EndpointName"], "VariantName": "AllTraffic"}
    assert seen == {"Invocation5XXErrors", "ModelLatency"}


def test_every_deployment_in_steps_has_alarms_and_the_other_way_round(sagemaker_dev: Assembly) -> None:
    endpoints = [
        item["Properties"]
        for body in sagemaker_dev.templates.values()
        for item in body["Resources"].values()
        if item["Type"] == "AWS::SageMaker::Endpoint"
    ]
    assert len(endpoints) == len(ENDINGS)
    for endpoint in endpoints:
        config = endpoint.get("DeploymentConfig", {})
        assert bool(config.get("BlueGreenUpdatePolicy")) == bool(
            config.get("AutoRollbackConfiguration", {}).get("Alarms")
        )


def test_the_endpoint_comes_after_its_alarms_and_the_way_in_after_both(sagemaker_dev: Assembly) -> None:
    resources = sagemaker_dev.stack("Endpoint-steady")
    (endpoint,) = sagemaker_dev.of("Endpoint-steady", "AWS::SageMaker::Endpoint")
    needed, seen = {endpoint}, set()
    while needed:
        name = needed.pop()
        seen.add(name)
        text = json.dumps(resources[name])
        needed |= {other for other in resources if f'"{other}"' in text and other not in seen}
    kinds = {resources[name]["Type"] for name in seen}
    assert "AWS::CloudWatch::Alarm" in kinds
    assert "AWS::Lambda::Function" not in kinds, "a circle: the function knows the endpoint"


def test_a_latency_limit_is_in_milliseconds_and_sagemaker_counts_microseconds(sagemaker_dev: Assembly) -> None:
    alarms = sagemaker_dev.of("Endpoint-steady", "AWS::CloudWatch::Alarm")
    (latency,) = [body for name, body in alarms.items() if name.startswith("ServerLatency")]
    assert latency["Threshold"] == 1000
    assert "slow / 1000" in json.dumps(latency["Metrics"])
    (of_async,) = [
        body
        for name, body in sagemaker_dev.of("Endpoint-long", "AWS::CloudWatch::Alarm").items()
        if name.startswith("ServerLatency")
    ]
    assert of_async["Threshold"] == 900_000, "nobody waits for it: its deadline is the limit"


def test_a_canary_is_one_machine_of_at_least_two() -> None:
    found = policy("canary_10_percent_15_minutes", many(2))
    routing = found.traffic_routing_configuration
    assert (routing.type, routing.wait_interval_in_seconds) == ("CANARY", 900)
    assert (routing.canary_size.type, routing.canary_size.value) == ("INSTANCE_COUNT", 1)


@pytest.mark.parametrize(("least", "percent"), [(2, 50), (3, 34), (10, 10), (40, 10)])
def test_a_linear_step_is_at_least_one_machine_and_a_size_that_sagemaker_takes(least: int, percent: int) -> None:
    routing = policy("linear_10_percent_every_2_minutes", many(least)).traffic_routing_configuration
    assert (routing.type, routing.wait_interval_in_seconds) == ("LINEAR", 120)
    assert (routing.linear_step_size.type, routing.linear_step_size.value) == ("CAPACITY_PERCENT", percent)


@pytest.mark.parametrize("name", ["single", "rare", "long"])
def test_where_there_is_no_second_machine_the_old_one_waits_as_long_as_steps_would_take(name: str) -> None:
    found = policy("canary_10_percent_15_minutes", MODELS[name])
    assert found.traffic_routing_configuration.type == "ALL_AT_ONCE"
    assert found.termination_wait_in_seconds == 900


@pytest.mark.parametrize("release", get_args(CodeRelease))
@pytest.mark.parametrize("endpoint", [MODELS["single"], many(2), many(20)])
def test_every_release_that_an_environment_may_have_is_one_that_sagemaker_takes(
    release: CodeRelease, endpoint: str
) -> None:
    found = policy(release, endpoint)
    if release == "all_at_once":
        assert found is None
        return
    routing, steps = found.traffic_routing_configuration, Steps.of(release)
    assert steps is not None
    assert 0 <= routing.wait_interval_in_seconds <= LONGEST_WAIT_S
    assert 300 <= found.termination_wait_in_seconds <= LONGEST_WAIT_S
    waits = found.termination_wait_in_seconds + (0 if routing.type == "ALL_AT_ONCE" else steps.total_s)
    assert waits < found.maximum_execution_timeout_in_seconds <= LONGEST_S


def test_releases_keep_the_machines_that_there_are_unless_there_may_be_none(sagemaker_dev: Assembly) -> None:
    kept = {
        ending: sagemaker_dev.only(ending, "AWS::SageMaker::Endpoint")["RetainAllVariantProperties"]
        for ending in ENDINGS
    }
    assert kept == {ending: ending not in ("Endpoint-long", "Endpoint-rare") for ending in ENDINGS}


def test_an_endpoint_of_another_kind_has_another_name(sagemaker_dev: Assembly) -> None:
    names = {sagemaker_dev.only(ending, "AWS::SageMaker::Endpoint")["EndpointName"] for ending in ENDINGS}
    assert {"modelyard-dev-realtime-model-single", "modelyard-dev-async-model-long"} <= names
    assert len(names) == len(ENDINGS)


@pytest.fixture(scope="module")
def projects(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = {name: MODELS[name] for name in ("steady", "first")}

    def made(more: str, **context: str) -> Assembly:
        project = write_project(tmp_path_factory.mktemp("release") / "project", models)
        return assembly_of(project, tmp_path_factory.mktemp("release-out"), "dev", more, **context)

    return made


@pytest.mark.parametrize("more", ['code_release = "all_at_once"\n', "alarms = false\n"])
def test_all_at_once_has_no_steps_and_needs_no_alarm(projects: Any, more: str) -> None:
    assembly = projects(more)
    assert assembly.findings == []
    for ending in ("Endpoint-steady", "Host-shelf"):
        assert "DeploymentConfig" not in assembly.only(ending, "AWS::SageMaker::Endpoint")
        alarms = assembly.of(ending, "AWS::CloudWatch::Alarm")
        assert not [name for name in alarms if "Release" in name]
        assert bool(alarms) == ("alarms" not in more)


def test_an_override_leaves_its_alarms_out_of_the_endpoint_that_it_is_for(projects: Any) -> None:
    override = ReleaseOverride(
        model="steady", operation="fix-1", alarms=("ErrorRate", "ReleaseErrors"), until=stamp(utc_now() + VALID / 2)
    )
    assembly = projects("", release_override=override.word("dev"))
    watched = {
        ending: {
            alarm["AlarmName"]["Ref"].removeprefix("Server")[:-8]
            for alarm in assembly.only(ending, "AWS::SageMaker::Endpoint")["DeploymentConfig"][
                "AutoRollbackConfiguration"
            ]["Alarms"]
        }
        for ending in ("Endpoint-steady", "Host-shelf")
    }
    assert watched == {"Endpoint-steady": {"Latency", "ReleaseLatency"}, "Host-shelf": set(ALARMS)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_stack_says_what_the_alarms_are_called_that_an_override_may_name(
    sagemaker_dev: Assembly, ending: str
) -> None:
    named = {name for name in sagemaker_dev.outputs(ending) if name.startswith("Alarm")}
    assert named == {f"Alarm{alarm}" for alarm in ALARMS}


def test_steps_are_read_from_every_name() -> None:
    assert Steps.of("canary_10_percent_30_minutes") == Steps("canary", 30)
    assert Steps.of("linear_10_percent_every_1_minute") == Steps("linear", 1)
    assert Steps.of("all_at_once") is None
    assert all(Steps.of(release) for release in get_args(CodeRelease) if release != "all_at_once")
