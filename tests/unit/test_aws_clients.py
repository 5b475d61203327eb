"""Whose credentials a client uses, for which region and endpoint, and how patient it is."""

import pytest

from modelyard.aws.clients import Clients
from modelyard.errors import CredentialsError, UsageError


def test_with_fixed_keys_the_callers_profile_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-caller")
    clients = Clients(region="eu-west-1", endpoint_url="http://127.0.0.1:9", access_key="key", secret_key="secret")
    assert clients.s3.meta.endpoint_url == "http://127.0.0.1:9"
    assert clients.session.get_credentials().access_key == "key"
    assert clients.session.profile_name == "default"


def test_an_unknown_profile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(CredentialsError, match="no-such-profile"):
        _ = Clients(region="eu-west-1").s3


def test_a_client_is_patient_unless_it_is_asked_not_to_be() -> None:
    def limits(clients: Clients) -> tuple[float, float, int]:
        config = clients.s3.meta.config
        return config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]

    keys = {"region": "eu-west-1", "access_key": "a", "secret_key": "b"}
    assert limits(Clients(**keys)) == (5, 30, 5)
    assert limits(Clients(**keys, connect_timeout_s=2, read_timeout_s=4.5, attempts=3)) == (2, 4.5, 3)


def test_clients_are_made_for_one_region_and_one_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    clients = Clients(access_key="a", secret_key="b")
    assert (clients.region, clients.s3.meta.region_name) == ("eu-central-1", "eu-central-1")
    assert clients.s3.meta.endpoint_url == clients.dynamodb.meta.endpoint_url == "http://127.0.0.1:4566"
    assert clients.s3 is clients.s3
    assert Clients(region="eu-west-1", endpoint_url="http://127.0.0.1:1").s3.meta.endpoint_url == "http://127.0.0.1:1"


def test_no_region_and_no_profile_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UsageError) as refused:
        _ = Clients().s3
    assert refused.value.code == "no_region"
    with pytest.raises(CredentialsError, match="nobody"):
        _ = Clients(region="eu-west-1", profile="nobody").s3
