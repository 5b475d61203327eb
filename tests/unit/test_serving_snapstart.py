"""SnapStart's hooks, with a stand-in of the module that Lambda's runtime brings."""

import json
import sys
from types import ModuleType
from typing import Any

import pytest

from modelyard.serving.settings import EndpointSettings
from modelyard.serving.snapstart import register_hooks

ENVIRON = {"MODELYARD_MODEL": "m", "MODELYARD_ARTIFACT_BUCKET": "b"}


class Hooks(ModuleType):
    """`snapshot_restore_py`: runs the first list backwards and the second forwards, as Lambda's does."""

    def __init__(self) -> None:
        super().__init__("snapshot_restore_py")
        self.before: list[Any] = []
        self.after: list[Any] = []

    def register_before_snapshot(self, hook: Any, *arguments: Any) -> None:
        self.before.append((hook, arguments))

    def register_after_restore(self, hook: Any, *arguments: Any) -> None:
        self.after.append((hook, arguments))

    def run(self) -> None:
        for hook, arguments in [*reversed(self.before), *self.after]:
            hook(*arguments)


@pytest.fixture
def hooks(monkeypatch) -> Hooks:
    made = Hooks()
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", made)
    return made


def test_hooks_run_in_the_order_in_which_they_are_given(hooks):
    seen: list[str] = []
    register_hooks(
        before_snapshot=[lambda: seen.append("prime"), lambda: seen.append("disconnect")],
        after_restore=[lambda: seen.append("reconnect"), lambda: seen.append("check")],
    )
    hooks.run()
    assert seen == ["prime", "disconnect", "reconnect", "check"]


def test_a_hook_that_fails_is_reported_and_the_others_run(hooks, capfd):
    seen: list[str] = []
    register_hooks(before_snapshot=[lambda: 1 // 0, lambda: seen.append("next")], after_restore=[])
    hooks.run()
    assert seen == ["next"]
    line = json.loads(capfd.readouterr().out)
    assert (line["event"], line["phase"]) == ("snapstart_hook_failed", "before_snapshot")
    assert "ZeroDivisionError" in "".join(line["traceback"])


@pytest.mark.parametrize("kind", [None, "on-demand", "provisioned-concurrency", "snap-start"])
def test_the_environment_says_whether_the_start_ends_in_a_snapshot(kind):
    environ = ENVIRON if kind is None else ENVIRON | {"AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    assert EndpointSettings.read(environ).snap_start is (kind == "snap-start")


def test_a_runtime_without_hooks_is_a_warning(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    assert not register_hooks(before_snapshot=[], after_restore=[])
    assert json.loads(capfd.readouterr().out)["event"] == "snapstart_without_hooks"
