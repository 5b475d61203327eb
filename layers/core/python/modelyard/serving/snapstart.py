"""SnapStart: what to do before Lambda takes the snapshot of an initialised environment, and after it is restored.

The rule: a hook that fails is reported and fails nothing. Before the snapshot a failure would refuse the publication of
the function; after it, it would refuse the environment, and the first request finds out for itself what is wrong.

One snapshot becomes many environments, on other machines and on later days. So connections do not go in, credentials
are fetched anew, and the pointer is looked at before the first request: the snapshot may hold a version that was
replaced long ago. Nothing here is random before the restore; ids come from the kernel for each request.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from collections.abc import Callable

from modelyard.serving.audit import write_event, write_failure

Hook = Callable[[], object]


def register_hooks(*, before_snapshot: list[Hook], after_restore: list[Hook]) -> bool:
    """Have the hooks run, each list in its order; for a start that ends in a snapshot.

    Args:
        before_snapshot: At the end of INIT; up to the function's timeout, at least 130 s, for all.
        after_restore: In each environment that is made of the snapshot; 10 s for all.

    Returns:
        Whether they will run.
    """
    try:
        from snapshot_restore_py import (  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in Lambda's own runtime
            register_after_restore,
            register_before_snapshot,
        )
    except ImportError:
        write_event("snapstart_without_hooks", level="warning", message="the runtime has no snapshot_restore_py")
        return False
    register_before_snapshot(_in_turn, "before_snapshot", before_snapshot)
    register_after_restore(_in_turn, "after_restore", after_restore)
    return True


def _in_turn(phase: str, hooks: list[Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception as error:  # noqa: BLE001 - see the rule above
            write_failure("snapstart_hook_failed", error, phase=phase)
