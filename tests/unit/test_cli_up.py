"""What ``up`` takes away: stacks of models whose folder is gone, and no others."""

from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli import up


class Stacks:
    """CloudFormation as far as it is asked here."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def get_paginator(self, _operation: str) -> Any:
        stacks = [{"StackName": name, "StackId": name} for name in self.names]
        return SimpleNamespace(paginate=lambda: [{"Stacks": stacks}])

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 - boto3's own spelling
        self.names.remove(StackName)

    def get_waiter(self, _name: str) -> Any:
        return SimpleNamespace(wait=lambda **_: None)


def test_stacks_of_a_model_without_folder_are_removed_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [
        "CDKToolkit",
        "Modelyard-local-Registry",
        "Modelyard-local-Api",
        "Modelyard-local-Endpoint-digits",
        "Modelyard-dev-Endpoint-wine",
        "Somebody-elses",
    ]
    stacks = Stacks(*kept, "Modelyard-local-Endpoint-wine", "Modelyard-local-Retraining-wine")
    clients = SimpleNamespace(client=lambda _service: stacks)
    monkeypatch.setattr(up, "_root", lambda _session: clients)
    session: Any = SimpleNamespace(name="local")
    models: Any = [SimpleNamespace(name="digits")]
    assert up._remove_stacks_without_model(session, models) is True
    assert stacks.names == kept
    assert up._remove_stacks_without_model(session, models) is False
