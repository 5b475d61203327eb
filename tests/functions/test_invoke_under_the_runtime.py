"""The way in under `awslambdaric`: an environment that is frozen between two invocations, and one out of a snapshot."""

import json
import sys
from typing import Any

import pytest

from tests.fakes import sagemaker_runtime as fake
from tests.fakes.lambda_service import LambdaService
from tests.fakes.predict_requests import instances
from tests.fakes.sagemaker_runtime import FakeSageMakerRuntime

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="AWS publishes its runtime client for Linux only")


@pytest.fixture
def service():
    with FakeSageMakerRuntime() as served:
        yield served


@pytest.fixture
def function(service):
    """Makes ways in beside SageMaker's stand-in."""
    running: list[LambdaService] = []

    def made(**settings: Any) -> LambdaService:
        variables = {**service.environment, **settings.pop("variables", {})}
        running.append(LambdaService("functions.invoke.handler", environment=variables, **settings))
        return running[-1]

    yield made
    for one in running:
        one.close()


def status(service: LambdaService) -> int:
    found: int = service.invoke(instances()).result["statusCode"]
    service.settle()
    return found


def test_one_connection_serves_an_environment_that_is_frozen_again_and_again(service, function):
    lambda_ = function()
    assert [status(lambda_) for _ in range(4)] == [200] * 4
    assert (lambda_.starts, service.connections) == (1, 1)


def test_what_the_server_closes_while_the_environment_is_frozen_costs_no_answer(service, function):
    lambda_ = function()
    for _ in range(3):
        service.harms = [fake.closing]  # after the answer, which is when the environment freezes
        assert status(lambda_) == 200
    assert lambda_.starts == 1
    assert [asked.connection for asked in service.asked] == [1, 2, 3]


def test_silence_is_a_504_in_the_functions_time_and_leaves_the_environment_alive(service, function):
    lambda_ = function(timeout_s=2.0)
    service.harms = [fake.silence(5)]
    invocation = lambda_.invoke(instances())
    assert invocation.error is None
    assert json.loads(invocation.result["body"])["code"] == "endpoint_timeout"
    assert status(lambda_) == 200
    assert lambda_.starts == 1


def test_a_restored_snapshot_signs_with_the_credentials_of_its_own_machine(service, function):
    keys = {
        "AccessKeyId": fake.ACCESS_KEY,
        "SecretAccessKey": fake.SECRET_KEY,
        "Token": "token",
        "Expiration": "2040-01-01T00:00:00Z",
    }
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
    lambda_ = function(snap_start=True, credentials=keys, variables=none)
    lambda_.start()
    assert service.asked == []
    lambda_.restore()
    assert [status(lambda_) for _ in range(2)] == [200, 200]
