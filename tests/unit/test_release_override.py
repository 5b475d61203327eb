"""The word by which a deployment is told of an override: what is one, and every way in which one is refused."""

import datetime as dt

import pytest

from modelyard.environments import parse_environments
from modelyard.errors import UsageError
from modelyard.release_override import ALARMS, VALID, ReleaseOverride, check_alarms, parse_override
from modelyard.times import stamp

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
SETTINGS = parse_environments('[prod]\naccount = "111122223333"\nregion = "eu-west-1"\n')["prod"]
OVERRIDE = ReleaseOverride(model="digits", operation="fix-1", alarms=("ErrorRate",), until=stamp(NOW + VALID))


def parsed(word: object, **changes: object) -> ReleaseOverride | None:
    given = {"environment": "prod", "settings": SETTINGS, "models": ["digits", "weather"], "now": NOW} | changes
    return parse_override(word, **given)  # type: ignore[arg-type]


def test_the_word_says_all_of_it_and_needs_no_quotes() -> None:
    word = OVERRIDE.word("prod")
    assert word == "prod/digits/fix-1/2026-11-21T14:00:00.000000Z/ErrorRate"
    assert parsed(word) == OVERRIDE
    both = ReleaseOverride(model="digits", operation="a" * 32, alarms=ALARMS, until=OVERRIDE.until)
    assert parsed(both.word("prod")) == both
    assert not set(both.word("prod")) & set(" \"'$`\\*?&|;<>()!#~[]{}")


def test_no_word_is_no_override() -> None:
    assert parsed(None) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", "'' is not one"),
        ("true", "'true' is not one"),
        (True, "True is not one"),
        ("prod/digits/ErrorRate", "is not one"),
        ("prod/digits//2026-11-21T14:00:00.000000Z/ErrorRate", "operation '' is not an id"),
        ("prod/digits/a b/2026-11-21T14:00:00.000000Z/ErrorRate", "operation 'a b' is not an id"),
        ("dev/digits/fix-1/2026-11-21T14:00:00.000000Z/ErrorRate", "is for environment 'dev' and this is 'prod'"),
        ("prod/other/fix-1/2026-11-21T14:00:00.000000Z/ErrorRate", "is for model 'other', which is not in models"),
        ("prod/digits/fix-1/tomorrow/ErrorRate", "'tomorrow' is not a time"),
        ("prod/digits/fix-1/2026-11-21T14:00:00.000000Z/", "'' is no choice of alarms"),
        ("prod/digits/fix-1/2026-11-21T14:00:00.000000Z/All", "'All' is no choice of alarms: one or more of ErrorRate"),
        ("prod/digits/fix-1/2026-11-21T14:00:00.000000Z/NewVersionErrors", "'NewVersionErrors' is no choice of alarms"),
        ("prod/digits/fix-1/2026-11-21T14:00:00.000000Z/Latency+Latency", "each once"),
    ],
)
def test_what_is_not_from_the_ledger_is_refused_with_the_command_that_writes_there(word: object, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(word)
    assert refused.value.code == "invalid_override"
    assert said in refused.value.message
    assert "modelyard --env prod release" in str(refused.value.next_step)


@pytest.mark.parametrize("hours", [4, 5, 1000])
def test_an_override_ends(hours: int) -> None:
    with pytest.raises(UsageError, match="it was good until 2026-11-21T14") as refused:
        parsed(OVERRIDE.word("prod"), now=NOW + dt.timedelta(hours=hours))
    assert refused.value.code == "override_expired"
    assert "modelyard --env prod release digits --despite-alarms" in str(refused.value.next_step)


def test_an_override_for_longer_than_any_is_good_for_was_not_written_by_the_command() -> None:
    with pytest.raises(UsageError, match="longer than any") as refused:
        parsed(OVERRIDE.word("prod"), now=NOW - dt.timedelta(hours=1))
    assert refused.value.code == "override_expired"


def test_two_machines_clocks_may_differ_by_a_little() -> None:
    assert parsed(OVERRIDE.word("prod"), now=NOW - dt.timedelta(minutes=4)) == OVERRIDE


def test_where_no_alarm_holds_a_release_up_there_is_nothing_to_override() -> None:
    at_once = SETTINGS.model_copy(update={"code_release": "all_at_once"})
    with pytest.raises(UsageError, match="releases code all at once"):
        parsed(OVERRIDE.word("prod"), settings=at_once)


def test_alarms_come_in_one_order_whoever_names_them() -> None:
    assert check_alarms(["Latency", "ErrorRate"]) == ("ErrorRate", "Latency")
