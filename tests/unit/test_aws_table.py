"""What the adapter makes of DynamoDB's refusals. That it stores and reads, the contract suite shows against AWS."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import exceptions as boto
from botocore.stub import Stubber

from modelyard.aws.table import DynamoDBRecords
from modelyard.errors import AWSError, CredentialsError
from modelyard.ports import ConditionFailedError, Delete, Put

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}


ONE = [Put({"pk": "p", "sk": "s"}, absent=True)]


@pytest.fixture
def table() -> Iterator[tuple[DynamoDBRecords, Stubber]]:
    client = boto3.client("dynamodb", **CREDENTIALS)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield DynamoDBRecords(client, "registry", sleep=lambda _: None, deadline_s=0.2), stubber
        stubber.assert_no_pending_responses()


def cancelled(stubber: Stubber, *reasons: str, operation: str = "transact_write_items") -> None:
    stubber.add_client_error(
        operation,
        "TransactionCanceledException",
        modeled_fields={"CancellationReasons": [{"Code": reason} for reason in reasons]},
    )


def test_a_transaction_that_met_another_is_repeated(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "TransactionConflict", "None")
    cancelled(stubber, "None", "ThrottlingError")
    stubber.add_client_error("transact_write_items", "TransactionInProgressException")
    stubber.add_response("transact_write_items", {})
    records.transact(ONE * 2)


def test_a_reading_that_met_a_transaction_is_repeated(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "TransactionConflict", "None", operation="transact_get_items")
    found = {"pk": {"S": "p"}, "sk": {"S": "s"}, "n": {"N": "1"}}
    keys = [{"pk": {"S": "p"}, "sk": {"S": sk}} for sk in ("none", "s")]
    stubber.add_response(
        "transact_get_items",
        {"Responses": [{}, {"Item": found}]},
        {"TransactItems": [{"Get": {"TableName": "registry", "Key": key}} for key in keys]},
    )
    assert records.get_many([("p", "none"), ("p", "s")]) == (None, {"pk": "p", "sk": "s", "n": 1})


def test_a_reading_that_is_refused_says_so(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "ValidationError", operation="transact_get_items")
    with pytest.raises(AWSError, match="cannot read table registry"):
        records.get_many([("p", "s")])
    stubber.add_client_error("transact_get_items", "AccessDeniedException", http_status_code=400)
    with pytest.raises(CredentialsError, match="cannot read table registry"):
        records.get_many([("p", "s")])


def test_a_failed_condition_is_an_answer_with_its_positions(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "None", "ConditionalCheckFailed", "TransactionConflict", "ConditionalCheckFailed")
    with pytest.raises(ConditionFailedError) as refused:
        records.transact(ONE * 4)
    assert refused.value.positions == (1, 3)


def test_a_transaction_that_is_wrong_is_not_repeated(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "None", "ValidationError")
    with pytest.raises(AWSError, match="cannot write table registry"):
        records.transact(ONE * 2)


def test_a_transaction_that_always_meets_others_ends_at_the_deadline() -> None:
    class Busy:
        calls = 0

        def transact_write_items(self, **_: Any) -> None:
            self.calls += 1
            answer = {
                "Error": {"Code": "TransactionCanceledException"},
                "CancellationReasons": [{"Code": "TransactionConflict"}],
            }
            raise boto.ClientError(answer, "TransactWriteItems")  # type: ignore[arg-type]

    busy = Busy()
    with pytest.raises(AWSError) as refused:
        DynamoDBRecords(busy, "registry", sleep=lambda _: None, deadline_s=0.05).transact(ONE)  # type: ignore[arg-type]
    assert refused.value.code == "contended"
    assert busy.calls > 2


def test_a_transaction_deletes_by_key_alone(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    stubber.add_response(
        "transact_write_items",
        {},
        {
            "TransactItems": [
                {"Delete": {"TableName": "registry", "Key": {"pk": {"S": "p"}, "sk": {"S": "gone"}}}},
                {
                    "Put": {
                        "TableName": "registry",
                        "Item": {"pk": {"S": "p"}, "sk": {"S": "s"}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
            ]
        },
    )
    records.transact([Delete("p", "gone"), *ONE])


@pytest.mark.parametrize(
    ("parts", "condition", "values"),
    [
        ({}, "", {}),
        ({"prefix": "B#"}, " AND begins_with(sk, :prefix)", {":prefix": "B#"}),
        ({"since": "b"}, " AND sk >= :low", {":low": "b"}),
        ({"until": "b"}, " AND sk <= :high", {":high": "b"}),
        ({"since": "a", "until": "b"}, " AND sk BETWEEN :low AND :high", {":low": "a", ":high": "b"}),
        (
            {"prefix": "B#", "since": "B#2"},
            " AND sk BETWEEN :low AND :high",
            {":low": "B#2", ":high": "B#\U0010ffff"},
        ),
        ({"prefix": "B#", "until": "B#2"}, " AND sk BETWEEN :low AND :high", {":low": "B#", ":high": "B#2"}),
    ],
)
def test_a_query_is_one_range_of_the_sort_key(
    table: tuple[DynamoDBRecords, Stubber], parts: dict[str, str], condition: str, values: dict[str, str]
) -> None:
    records, stubber = table
    stubber.add_response(
        "query",
        {"Items": []},
        {
            "TableName": "registry",
            "KeyConditionExpression": "pk = :pk" + condition,
            "ExpressionAttributeValues": {":pk": {"S": "p"}} | {name: {"S": value} for name, value in values.items()},
            "ConsistentRead": True,
            "ScanIndexForward": True,
        },
    )
    assert records.query("p", **{"prefix": ""} | parts).items == ()


def test_a_range_that_ends_before_it_begins_is_empty_without_asking(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, _ = table
    assert records.query("p", prefix="", since="b", until="a").items == ()
