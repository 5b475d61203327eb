"""environments.toml: what is accepted, and every way in which one is refused."""

from pathlib import Path

import pytest

from modelyard.environments import choose_environment, load_environments, parse_environments
from modelyard.errors import SpecError, UsageError

PROJECT = Path(__file__).parents[2]

LOCAL = '[local]\naccount = "000000000000"\nregion = "eu-west-1"\nport = 4599\n'
NAME = "is no environment's name: a lower-case letter, then at most 19 of a-z, 0-9, '-'"
DEV = '[dev]\naccount = "111122223333"\nregion = "eu-west-1"\n'


def findings(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_environments(text)
    return [finding.removeprefix("environments.toml: ") for finding in caught.value.findings]


def test_the_environments_of_this_project_are_accepted():
    environments = load_environments(PROJECT, {})
    assert list(environments) == ["local", "dev", "prod"]
    assert [environment.is_local for environment in environments.values()] == [True, False, False]


def test_an_environment_is_careful_unless_told_otherwise():
    dev = parse_environments(DEV)["dev"]
    assert dev.retain
    assert dev.deletion_protection
    assert dev.alarms
    assert dev.python_version == "3.13"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        ("account = 1", "account: must be a table (got 1)"),
        (
            '[dev]\nregion = "eu-west-1"',
            "dev.account: is required. 12-digit AWS account id, in quotes; '000000000000' is the local AWS.",
        ),
        (DEV + "regoin = 'x'", "dev.regoin: unknown key; did you mean 'region'?"),
        (
            DEV + "requests_per_second = 0",
            "dev.requests_per_second: must be at least 1 (got 0). Steady rate that each API lets in.",
        ),
        (DEV + "log_retention_days = 8", "dev.log_retention_days: must be 1, 7, 30, 90 or 365 (got 8)"),
        (DEV + "alarms = 'yes'", "dev.alarms: must be true or false (got 'yes')"),
        (DEV + "alarm_email = 'me'", "dev.alarm_email: 'me' is not an e-mail address"),
        (DEV + "port = 4599", "dev.port: is for [local] alone: the AWS emulator on this machine"),
        (DEV + "python = 'host'", "dev.python: 'host' is for [local] alone; Lambda has '3.12' and '3.13'"),
        (
            DEV + "code_release = 'canary_10_percent_5_minutes'\nalarms = false",
            "dev.code_release: needs alarms = true, because without an alarm nothing takes bad code back; else "
            "'all_at_once'",
        ),
        (
            LOCAL + "code_release = 'linear_10_percent_every_1_minute'",
            "local.code_release: must be 'all_at_once': the local AWS has no CodeDeploy",
        ),
        (
            DEV.replace("111122223333", "000000000000"),
            "dev.account: '000000000000' is the local AWS; [dev] needs an account of yours",
        ),
        (
            LOCAL.replace("port = 4599", ""),
            "local.port: is required: where the AWS emulator on this machine listens, like 4599",
        ),
        (
            LOCAL.replace("000000000000", "111122223333"),
            "local.account: '111122223333' is not that of the local AWS: '000000000000'",
        ),
        (DEV.replace("[dev]", "[Dev]"), f"Dev: {NAME}"),
        (DEV.replace("[dev]", '["a b"]'), f'"a b": {NAME}'),
        (DEV.replace("[dev]", f"[{'a' * 21}]"), f"{'a' * 21}: {NAME}"),
    ],
)
def test_what_is_wrong_is_named_with_environment_and_key(text, finding):
    assert findings(text) == [finding]


def test_code_is_released_in_steps_where_an_alarm_can_take_it_back():
    environments = parse_environments(LOCAL + DEV)
    assert environments["dev"].release == "canary_10_percent_10_minutes"
    assert environments["local"].release == "all_at_once"
    assert parse_environments(LOCAL + "alarms = true")["local"].release == "all_at_once"
    assert parse_environments(DEV + "alarms = false")["dev"].release == "all_at_once"
    assert parse_environments(DEV + "code_release = 'all_at_once'")["dev"].release == "all_at_once"
    chosen = DEV + "code_release = 'linear_10_percent_every_2_minutes'"
    assert parse_environments(chosen)["dev"].release == "linear_10_percent_every_2_minutes"


@pytest.mark.parametrize("value", ["'canary'", "'CANARY_10_PERCENT_5_MINUTES'", "10", "{ percent = 10, minutes = 5 }"])
def test_a_release_that_codedeploy_does_not_know_is_answered_with_those_it_knows(value):
    (finding,) = findings(DEV + f"code_release = {value}")
    assert finding.startswith("dev.code_release: must be 'all_at_once', 'canary_10_percent_5_minutes', ")
    assert "'linear_10_percent_every_10_minutes'" in finding


@pytest.mark.parametrize("account", ["1234", "11112222333a", "1111222233334", "١١١١٢٢٢٢٣٣٣٣", ""])
def test_an_account_has_twelve_digits(account):
    assert findings(DEV.replace("111122223333", account)) == [
        f"dev.account: {account!r} is not an AWS account id: 12 digits in quotes"
    ]


def test_an_account_without_quotes_says_so():
    assert findings(DEV.replace('"111122223333"', "111122223333")) == [
        "dev.account: must be text (got 111122223333); quotes make it text"
    ]
    (finding,) = findings(DEV.replace('"111122223333"', "012345678901"))
    assert "needs quotes" in finding


@pytest.mark.parametrize("region", ["", "eu", "Europe", "eu-west", "eu-west-1a", "EU-WEST-1"])
def test_a_region_looks_like_one(region):
    assert len(findings(DEV.replace("eu-west-1", region))) == 1


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-4", "us-gov-west-1"])
def test_regions_of_every_partition_are_accepted(region):
    assert parse_environments(DEV.replace("eu-west-1", region))["dev"].region == region


def test_all_findings_of_all_environments_come_at_once():
    found = findings("[Dev]\nacount = 'x'\n[local]\naccount = '111122223333'\nregion = 1\n[prod]\nport = 1\n")
    assert {finding.split(": ")[0] for finding in found} == {
        "Dev", "Dev.account", "Dev.acount", "Dev.region",
        "local.region", "local.account", "local.port",
        "prod.account", "prod.region", "prod.port",
    }  # fmt: skip


def test_a_duplicate_environment_is_refused():
    (finding,) = findings(DEV + DEV)
    assert "the key or table is given twice" in finding


def test_a_secret_in_plain_text_is_refused():
    (finding,) = findings(DEV + 'alarm_email = "AKIAIOSFODNN7EXAMPLE"')
    assert finding.startswith("dev.alarm_email: holds an AWS access key id in plain text")


def test_a_file_in_another_encoding_or_missing_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"environments\.toml: not found in "):
        load_environments(tmp_path)
    (tmp_path / "environments.toml").write_bytes(DEV.encode("utf-16"))
    with pytest.raises(SpecError, match="is not UTF-8"):
        load_environments(tmp_path)
    (tmp_path / "environments.toml").write_text(DEV, encoding="utf-8-sig")
    assert list(load_environments(tmp_path)) == ["dev"]


def test_a_second_local_aws_takes_the_port_that_the_variable_names(tmp_path):
    (tmp_path / "environments.toml").write_text(LOCAL + DEV)
    environments = load_environments(tmp_path, {"MODELYARD_LOCAL_PORT": "4600"})
    assert (environments["local"].port, environments["dev"].port) == (4600, None)


@pytest.mark.parametrize("port", ["", "0", "80", "65536", "4599x", "-1", "٤٥٩٩", "9" * 5000])
def test_a_variable_that_is_no_port_is_refused(tmp_path, port):
    (tmp_path / "environments.toml").write_text(LOCAL)
    with pytest.raises(UsageError, match="is not a port: 1024 to 65535") as caught:
        load_environments(tmp_path, {"MODELYARD_LOCAL_PORT": port})
    assert caught.value.next_step


def test_an_unknown_environment_is_answered_with_the_nearest():
    environments = parse_environments(LOCAL + DEV)
    with pytest.raises(UsageError, match=r"environment 'devv' is not in environments.toml; did you mean 'dev'\?"):
        choose_environment(environments, "devv")
    with pytest.raises(UsageError, match="known here: local, dev"):
        choose_environment(environments, "production")
