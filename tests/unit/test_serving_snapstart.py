"""SnapStart's hooks, with a stand-in of the module that Lambda's runtime brings."""

import json
import sys
from types import ModuleType
from typing import Any

import pytest

from modelyard.serving.snapstart import register_hooks

SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


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
        SNAP_START,
        before_snapshot=[lambda: seen.append("prime"), lambda: seen.append("disconnect")],
        after_restore=[lambda: seen.append("reconnect"), lambda: seen.append("check")],
    )
    hooks.run()
    assert seen == ["prime", "disconnect", "reconnect", "check"]


def test_a_hook_that_fails_is_reported_and_the_others_run(hooks, capfd):
    seen: list[str] = []
    register_hooks(SNAP_START, before_snapshot=[lambda: 1 // 0, lambda: seen.append("next")], after_restore=[])
    hooks.run()
    assert seen == ["next"]
    line = json.loads(capfd.readouterr().out)
    assert (line["event"], line["phase"]) == ("snapstart_hook_failed", "before_snapshot")
    assert "ZeroDivisionError" in "".join(line["traceback"])


@pytest.mark.parametrize("kind", [None, "on-demand", "provisioned-concurrency"])
def test_without_snapstart_nothing_is_registered_or_imported(hooks, kind):
    environ = {} if kind is None else {"AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    assert not register_hooks(environ, before_snapshot=[lambda: None], after_restore=[lambda: None])
    assert (hooks.before, hooks.after) == ([], [])


def test_a_runtime_without_hooks_is_a_warning(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    assert not register_hooks(SNAP_START, before_snapshot=[], after_restore=[])
    assert json.loads(capfd.readouterr().out)["event"] == "snapstart_without_hooks"
