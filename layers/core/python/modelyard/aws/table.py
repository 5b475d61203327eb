"""The registry's records in one DynamoDB table with the text keys ``pk`` and ``sk``.

Reads are strongly consistent: the registry decides on what it reads. A transaction that met another one
(``TransactionConflict``) has changed or read nothing and is repeated here, with a fresh token; a condition that failed
is an answer and goes to the caller, with its position.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from modelyard.aws.attributes import from_attributes, to_attribute, to_attributes
from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import AWSError
from modelyard.patience import attempts
from modelyard.ports import ConditionFailedError, Delete, Item, Page, Put, Write

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

# What repeating the same transaction can overcome.
_PASSING = frozenset(
    {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}
)
_LAST = "\U0010ffff"  # sorts after everything that a sort key holds
_UNTOUCHED = "None"  # the reason of a put that had no part in the cancellation


class DynamoDBRecords:
    """A ``RecordStore`` in a table.

    Args:
        client: A low-level DynamoDB client.
        table: The table's name.
        sleep: How retries wait.
        deadline_s: How long a transaction that meets others is repeated.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        deadline_s: float = 60.0,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep
        self._deadline_s = deadline_s

    def get(self, pk: str, sk: str) -> Item | None:
        """The item with this key, or None."""
        with aws_errors(f"read table {self._table}"):
            answer = self._client.get_item(
                TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
            )
        found = answer.get("Item")
        return None if found is None else from_attributes(found)

    def get_many(self, addresses: Sequence[tuple[str, str]]) -> tuple[Item | None, ...]:
        """The items with these keys, all as they were at one moment; allowed by dynamodb:GetItem on each."""
        requests: list[Any] = [
            {"Get": {"TableName": self._table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}}} for pk, sk in addresses
        ]
        answer = self._patiently("read", lambda: self._client.transact_get_items(TransactItems=requests))
        found = [each.get("Item") for each in answer["Responses"]]
        return tuple(None if item is None else from_attributes(item) for item in found)

    def query(
        self,
        pk: str,
        *,
        prefix: str,
        since: str | None = None,
        until: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        start: str | None = None,
    ) -> Page[Item]:
        """Items whose sort key begins with ``prefix``; see ``modelyard.ports``."""
        if since is not None and until is not None and since > until:
            return Page(())  # which DynamoDB refuses to say
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": True,
            "ScanIndexForward": not reverse,
        }
        condition, values = _range(prefix, since, until)
        request["KeyConditionExpression"] += condition
        request["ExpressionAttributeValues"] |= {name: {"S": value} for name, value in values.items()}
        if start is not None:
            request["ExclusiveStartKey"] = {"pk": {"S": pk}, "sk": {"S": start}}
        items: list[Item] = []
        # One more than asked for says whether there is a next page; DynamoDB itself says so only after an empty one.
        while limit is None or len(items) <= limit:
            if limit is not None:
                request["Limit"] = limit + 1 - len(items)
            with aws_errors(f"read table {self._table}"):
                answer = self._client.query(**request)
            items.extend(from_attributes(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        if limit is not None and len(items) > limit:
            return Page(tuple(items[:limit]), items[limit - 1]["sk"])
        return Page(tuple(items))

    def put(self, put: Put) -> None:
        """Write one item if it is as expected."""
        with aws_errors(f"write table {self._table}"):
            try:
                self._client.put_item(**self._request(put))
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    raise ConditionFailedError([0]) from error
                raise

    def transact(self, writes: Sequence[Write]) -> None:
        """Write and remove all items if all are as expected, or none."""
        requests: list[Any] = [
            {"Delete": {"TableName": self._table, "Key": {"pk": {"S": write.pk}, "sk": {"S": write.sk}}}}
            if isinstance(write, Delete)
            else {"Put": self._request(write)}
            for write in writes
        ]
        # Without a token of ours botocore makes one per call, so its own retries of a lost answer count once.
        self._patiently("write", lambda: self._client.transact_write_items(TransactItems=requests))

    def _patiently(self, doing: str, transact: Callable[[], T]) -> T:
        """Its answer, tried again for as long as other transactions are in the way."""
        for _ in attempts(self._deadline_s, sleep=self._sleep):
            with aws_errors(f"{doing} table {self._table}"):
                try:
                    return transact()
                except ClientError as error:
                    if code_of(error) == "TransactionInProgressException":
                        continue
                    reasons = _reasons(error)
                    failed = [place for place, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"]
                    if failed:
                        raise ConditionFailedError(failed) from error
                    causes = set(reasons) - {_UNTOUCHED}
                    if not causes or not causes <= _PASSING:
                        raise
        raise AWSError(
            f"cannot {doing} table {self._table}: other transactions were in the way for {self._deadline_s:.0f} s",
            code="contended",
            next_step="Run the command again; repeating it is safe.",
        )

    def _request(self, put: Put) -> dict[str, Any]:
        request: dict[str, Any] = {"TableName": self._table, "Item": to_attributes(put.item)}
        if put.absent:
            request["ConditionExpression"] = "attribute_not_exists(pk)"
        elif put.equals:
            # Names are always aliased: many plain words (status, name, owner) are reserved by DynamoDB.
            request["ConditionExpression"] = " AND ".join(f"#e{place} = :e{place}" for place in range(len(put.equals)))
            request["ExpressionAttributeNames"] = {f"#e{place}": name for place, name in enumerate(put.equals)}
            request["ExpressionAttributeValues"] = {
                f":e{place}": to_attribute(value) for place, value in enumerate(put.equals.values())
            }
        return request


def _range(prefix: str, since: str | None, until: str | None) -> tuple[str, dict[str, str]]:
    """The condition on the sort key, of which DynamoDB takes one, and its values."""
    if since is None and until is None:
        return (" AND begins_with(sk, :prefix)", {":prefix": prefix}) if prefix else ("", {})
    low = since or prefix
    high = until if until is not None else prefix and prefix + _LAST
    if low and high:
        return " AND sk BETWEEN :low AND :high", {":low": low, ":high": high}
    return (" AND sk >= :low", {":low": low}) if low else (" AND sk <= :high", {":high": high})


def _reasons(error: ClientError) -> list[str]:
    """Why each put of a cancelled transaction was refused, by position; [] for any other error."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [str(reason.get("Code", _UNTOUCHED)) for reason in reasons]
