"""An audited override: a release of an endpoint's code that passes alarms which fire already.

CodeDeploy stops a deployment while one of its alarms fires, also when the code that is to be replaced made it fire. An
override names those alarms, for one model and a few hours:

    modelyard release NAME --despite-alarms ──► the ledger: who, why, which alarms ──► a word for ``cdk deploy -c``
    ──► synth leaves these alarms out, and writes the override's id into the template

The rule: synth makes no network call, so it checks the word's form, its environment, its model and its time. Whether
the ledger knows the override is what ``modelyard doctor`` asks, of the id in the deployed stack.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from modelyard.errors import ModelyardError, UsageError
from modelyard.names import check_id
from modelyard.times import parse_stamp

if TYPE_CHECKING:
    from modelyard.environments import Environment

CONTEXT = "release_override"
"""What ``cdk deploy -c`` calls it."""
STANDING = ("ErrorRate", "Latency")
"""Of every endpoint, by the names that its stack gives them."""
ALARMS = (*STANDING, "ReleaseErrors", "ReleaseLatency")
"""What an override may name; the last two are only on SageMaker, which counts old and new code together. The alarms on
a function's new version are not among them: they watch what is being released and nothing before it, so they never fire
beforehand, and no override leaves them out."""
VALID = dt.timedelta(hours=4)
"""From the ledger's line to the synth of the fix."""
_SKEW = dt.timedelta(minutes=5)
"""By how much two machines' clocks may differ."""


class ReleaseOverride(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarms of a model's endpoint a code release may pass, and until when; ``operation`` is the ledger's id."""

    model: str
    operation: str
    alarms: tuple[str, ...]
    until: str

    def word(self, environment: str) -> str:
        """The override as one word that a shell passes on as it is."""
        return "/".join((environment, self.model, self.operation, self.until, "+".join(self.alarms)))


def check_alarms(alarms: Sequence[str]) -> tuple[str, ...]:
    """The alarms in order, when an override may name them.

    Raises:
        UsageError: With code ``invalid_alarms``.
    """
    unknown = [alarm for alarm in alarms if alarm not in ALARMS]
    if unknown or not alarms or len(set(alarms)) != len(alarms):
        raise UsageError(
            f"{', '.join(map(ascii, alarms)) or 'nothing'} is no choice of alarms: one or more of {', '.join(ALARMS)}, "
            "each once",
            code="invalid_alarms",
            field="alarms",
        )
    return tuple(alarm for alarm in ALARMS if alarm in alarms)


def parse_override(
    word: object, *, environment: str, settings: "Environment", models: Iterable[str], now: dt.datetime
) -> ReleaseOverride | None:
    """Read what ``-c release_override=…`` says; None where it is not given.

    Args:
        word: The context's value.
        environment: The environment that is deployed.
        settings: Its settings.
        models: Names of the models that are deployed.
        now: The present time.

    Raises:
        UsageError: With code ``invalid_override`` when it is not one, or one for something else; ``override_expired``.
    """
    if word is None:
        return None
    parts = str(word).split("/")
    if len(parts) != 5:
        raise _refused(f"{ascii(word)[:80]} is not one", environment)
    said, model, operation, until, alarms = parts
    if said != environment:
        raise _refused(f"it is for environment {ascii(said)[:40]} and this is {environment!r}", environment)
    if settings.release == "all_at_once":
        raise _refused(f"environment {environment!r} releases code all at once: no alarm holds it up", environment)
    if model not in models:
        raise _refused(f"it is for model {ascii(model)[:60]}, which is not in models", environment)
    try:
        override = ReleaseOverride(
            model=model,
            operation=check_id(operation, field="operation"),
            alarms=check_alarms(alarms.split("+")),
            until=until,
        )
        ends = parse_stamp(until)
    except (ModelyardError, ValueError) as wrong:
        raise _refused(getattr(wrong, "message", f"{ascii(until)[:40]} is not a time"), environment, model) from wrong
    if not now < ends <= now + VALID + _SKEW:
        past = f"it was good until {until}" if now >= ends else f"until {until} is longer than any is good for"
        raise _refused(past, environment, model, code="override_expired")
    return override


def _refused(problem: str, environment: str, model: str = "NAME", *, code: str = "invalid_override") -> UsageError:
    return UsageError(
        f"the context {CONTEXT} cannot be used: {problem}",
        code=code,
        field=CONTEXT,
        next_step=f"Run 'modelyard --env {environment} release {model} --despite-alarms --reason \"…\"': it writes the "
        "override into the ledger and prints the command.",
    )
