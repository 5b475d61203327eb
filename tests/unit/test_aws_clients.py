"""Whose credentials a client uses."""

import pytest

from modelyard.aws.clients import Clients
from modelyard.errors import CredentialsError


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
