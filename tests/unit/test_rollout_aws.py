"""What a rollout asks of CloudWatch, EventBridge and Step Functions, over clients that remember it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from modelyard.aws.alarms import CloudWatchAlarms
from modelyard.aws.signals import EventSignals
from modelyard.aws.workflow import send_answer
from modelyard.errors import AWSError, CredentialsError
from modelyard.registry import Rollout

ROLLOUT = Rollout(
    model="m", rollout_id="r-1", version=2, champion=1, deployed=3, started_at="t", started_by="ana", reason="better"
)


class Client:
    """Answers every call with the same, or refuses it."""

    def __init__(self, answer: Any = None, *, refuses: str = "") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answer, self._refuses = answer or {}, refuses

    def client(self, _: str) -> "Client":
        return self

    def __getattr__(self, name: str) -> Any:
        def called(**asked: Any) -> Any:
            self.calls.append((name, asked))
            if self._refuses:
                raise ClientError({"Error": {"Code": self._refuses, "Message": "no"}}, name)
            return self._answer

        return called


def test_an_alarm_without_enough_data_is_quiet() -> None:
    states = {"Latency": "OK", "ErrorRate": "ALARM", "Slow": "INSUFFICIENT_DATA"}
    client = Client({"MetricAlarms": [{"AlarmName": name, "StateValue": state} for name, state in states.items()]})
    assert CloudWatchAlarms(client, list(states)).firing() == ("ErrorRate",)
    assert client.calls == [("describe_alarms", {"AlarmNames": list(states), "MaxRecords": 100})]


def test_without_alarms_nobody_is_asked() -> None:
    client = Client()
    assert CloudWatchAlarms(client, []).firing() == ()
    assert client.calls == []


def test_a_start_is_an_event_that_names_model_version_and_rollout() -> None:
    client: Any = Client({"FailedEntryCount": 0})
    EventSignals(client, "bus").begin(ROLLOUT)
    ((_, asked),) = client.calls
    (entry,) = asked["Entries"]
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("bus", "modelyard", "Rollout Asked For")
    assert json.loads(entry["Detail"]) == {"model": "m", "version": 2, "rollout_id": "r-1", "reason": "better"}


def test_an_event_that_was_not_taken_is_an_error_that_says_what_to_do() -> None:
    client: Any = Client({"FailedEntryCount": 1})
    with pytest.raises(AWSError, match="was not taken") as refused:
        EventSignals(client, "bus").begin(ROLLOUT)
    assert "again" in str(refused.value.next_step)


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_task_that_waits_no_more_is_no_error(code: str) -> None:
    assert send_answer(Client(refuses=code), "secret") is False
    assert send_answer(Client(), "secret") is True


def test_a_token_is_not_in_the_error_of_an_answer_that_was_refused() -> None:
    with pytest.raises(CredentialsError) as refused:
        send_answer(Client(refuses="AccessDeniedException"), "secret")
    assert "secret" not in str(refused.value)
