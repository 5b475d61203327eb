"""Clients that nobody here wrote ask a server; see `tests.fakes.official_clients`."""

from collections.abc import Iterator

import pytest

from benchmarks.measuring.environments import installed, interpreter
from benchmarks.measuring.script import PROJECT
from tests.fakes.official_clients import CLIENTS, ENVIRONMENT, LOCK, run, served
from tests.fakes.served import ServedStand

pytestmark = pytest.mark.skipif(
    not installed(ENVIRONMENT, PROJECT / LOCK),
    reason="the clients are not installed; .venv/bin/python -m tests.fakes.official_clients does that, and asks",
)


@pytest.fixture(scope="module")
def stand() -> Iterator[ServedStand]:
    """A server of the models that they ask."""
    with served() as started:
        yield started


@pytest.mark.parametrize("client", CLIENTS)
def test_an_official_client_is_answered_as_by_its_own_server(stand: ServedStand, client: str) -> None:
    assert "." in run(client, interpreter(ENVIRONMENT, PROJECT / LOCK), stand.port)
