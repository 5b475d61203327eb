"""What both implementations of `RecordStore` must do: the fake of the unit tests and the adapter against (local) AWS.

A test module subclasses the suite and gives it the fixture ``records``. Nothing is cleaned up: every test works under
names of its own.
"""

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import AWSError
from modelyard.ports import (
    MOST_READS,
    ConditionFailedError,
    Delete,
    Put,
    RecordStore,
)


def fresh(prefix: str = "m") -> str:
    """A name that no other test has."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def put(pk: str, sk: str, *, absent: bool = False, equals: dict[str, Any] | None = None, **values: Any) -> Put:
    return Put({"pk": pk, "sk": sk, **values}, absent=absent, equals=equals or {})


class RecordStoreContract:
    """Suite for a ``RecordStore``; needs the fixture ``records``."""

    def test_an_absent_item_reads_as_none(self, records: RecordStore) -> None:
        assert records.get(fresh(), "nothing") is None

    @pytest.mark.parametrize(
        "value",
        [
            None, True, False, "", "text", "\u202eright to left\x00", 0, -1, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63),
            0.1, 1.0, -2.5, 1e-7, 1 / 3, 1e22, 1e23, 1.2345678901234567e18, 2.0**63, 123456789.12345678,
            1.7976931348623157e308, 5e-324, -1e300, 1e125, 1e126, 1e-130, 1e-128, math.pi * 1e-100,
            [], {}, [1, [2.5, ["three"]]], {"a": {"b": [None, {"name": 1.5}]}, "status": "x", "#:$ ü": 0},
        ],
        ids=repr,
    )  # fmt: skip
    def test_a_value_comes_back_equal(self, records: RecordStore, value: Any) -> None:
        pk = fresh()
        records.put(put(pk, "value", value=value))
        found = records.get(pk, "value")
        assert found == {"pk": pk, "sk": "value", "value": value}
        assert found is not None
        assert isinstance(found["value"], bool) is isinstance(value, bool)

    @pytest.mark.parametrize(
        "value", [math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, b"bytes", {1: 2}, {"": 2}, {1}]
    )
    def test_a_value_that_would_not_come_back_equal_is_refused(self, records: RecordStore, value: Any) -> None:
        pk = fresh()
        with pytest.raises(ValueError, match="stored"):
            records.put(put(pk, "value", value=value))
        assert records.get(pk, "value") is None

    def test_a_put_that_expects_nothing_there_writes_once(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a", absent=True, writer=1))
        with pytest.raises(ConditionFailedError) as refused:
            records.put(put(pk, "a", absent=True, writer=2))
        assert refused.value.positions == (0,)
        assert (records.get(pk, "a") or {})["writer"] == 1

    def test_a_put_that_expects_values_needs_all_of_them(self, records: RecordStore) -> None:
        pk = fresh()
        with pytest.raises(ConditionFailedError):
            records.put(put(pk, "a", equals={"revision": 1}))
        records.put(put(pk, "a", revision=1, status="running"))
        with pytest.raises(ConditionFailedError):
            records.put(put(pk, "a", equals={"revision": 1, "status": "done"}, revision=2))
        records.put(put(pk, "a", equals={"revision": 1, "status": "running"}, revision=2))
        assert records.get(pk, "a") == {"pk": pk, "sk": "a", "revision": 2}

    def test_a_put_without_expectation_replaces_the_whole_item(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a", old=1))
        records.put(put(pk, "a", new=2))
        assert records.get(pk, "a") == {"pk": pk, "sk": "a", "new": 2}

    def test_a_transaction_writes_all_items(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        records.transact([put(pk, "a", absent=True, n=1), put(other, "b", n=2), put(pk, "c", n=3)])
        assert [item["n"] for item in records.query(pk, prefix="").items] == [1, 3]
        assert (records.get(other, "b") or {})["n"] == 2

    def test_a_refused_transaction_writes_nothing_and_says_which_conditions_failed(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "taken", revision=3))
        with pytest.raises(ConditionFailedError) as refused:
            records.transact(
                [
                    put(pk, "new", absent=True),
                    put(pk, "taken", absent=True),
                    put(pk, "free"),
                    put(pk, "missing", equals={"revision": 1}),
                ]
            )
        assert refused.value.positions == (1, 3)
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["taken"]

    def test_a_query_sees_one_prefix_in_order(self, records: RecordStore) -> None:
        pk = fresh()
        for sk in ("B#2", "A#1", "B#10", "B#1", "C#1", "B"):
            records.put(put(pk, sk))
        keys = [item["sk"] for item in records.query(pk, prefix="B#").items]
        assert keys == ["B#1", "B#10", "B#2"]
        assert [item["sk"] for item in records.query(pk, prefix="B#", reverse=True).items] == keys[::-1]
        assert records.query(pk, prefix="D#").items == ()

    def test_a_query_ends_at_until_which_it_includes(self, records: RecordStore) -> None:
        pk = fresh()
        for sk in ("A#9", "B#1", "B#2", "B#3", "C#1"):
            records.put(put(pk, sk))
        assert [item["sk"] for item in records.query(pk, prefix="B#", until="B#2").items] == ["B#1", "B#2"]
        newest = records.query(pk, prefix="B#", until="B#25", reverse=True, limit=1)
        assert [item["sk"] for item in newest.items] == ["B#2"]
        assert records.query(pk, prefix="B#", until="B#0", reverse=True, limit=1).items == ()

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
    def test_pages_are_whole_and_the_last_one_says_so(self, records: RecordStore, limit: int, reverse: bool) -> None:
        pk = fresh()
        keys = [f"V#{number}" for number in range(6)]
        for sk in ("U#1", *keys, "W#1"):
            records.put(put(pk, sk))
        pages, start = [], None
        while True:
            page = records.query(pk, prefix="V#", limit=limit, start=start, reverse=reverse)
            pages.append([item["sk"] for item in page.items])
            start = page.next
            if start is None:
                break
        expected = keys[::-1] if reverse else keys
        assert pages == [expected[at : at + limit] for at in range(0, 6, limit)]

    def test_a_long_listing_without_limit_is_whole(self, records: RecordStore) -> None:
        pk = fresh()
        text = "x" * 100_000  # DynamoDB answers a query in pages of 1 MB
        for number in range(15):
            records.put(put(pk, f"V#{number:02d}", text=text))
        assert len(records.query(pk, prefix="V#").items) == 15
        page = records.query(pk, prefix="V#", limit=14)
        assert (len(page.items), page.next) == (14, "V#13")

    @pytest.mark.parametrize("reverse", [False, True])
    def test_a_query_begins_at_since_which_it_includes(self, records: RecordStore, reverse: bool) -> None:
        pk = fresh()
        for sk in ("A#9", "B#1", "B#2", "B#3", "B#4", "C#1"):
            records.put(put(pk, sk))

        def found(**parts: Any) -> list[str]:
            keys: list[str] = [item["sk"] for item in records.query(pk, reverse=reverse, **parts).items]
            return keys[::-1] if reverse else keys

        assert found(prefix="B#", since="B#2") == ["B#2", "B#3", "B#4"]
        assert found(prefix="B#", since="B#15", until="B#3") == ["B#2", "B#3"]
        assert found(prefix="B#", since="B#3", until="B#3") == ["B#3"]
        assert found(prefix="", since="B#4") == ["B#4", "C#1"]
        assert found(prefix="", since="A", until="B#1") == ["A#9", "B#1"]
        assert found(prefix="", until="B#1") == ["A#9", "B#1"]
        assert found(prefix="B#", since="B#5") == []
        assert found(prefix="B#", since="B#3", until="B#2") == []

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_pages_between_two_keys_are_whole(self, records: RecordStore, limit: int, reverse: bool) -> None:
        pk = fresh()
        for number in range(6):
            records.put(put(pk, f"V#{number}"))
        found, start = [], None
        while True:
            page = records.query(pk, prefix="", since="V#1", until="V#4", limit=limit, start=start, reverse=reverse)
            found += [item["sk"] for item in page.items]
            start = page.next
            if start is None:
                break
        expected = ["V#1", "V#2", "V#3", "V#4"]
        assert found == (expected[::-1] if reverse else expected)

    def test_a_transaction_removes_and_writes_at_once(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        for sk in ("a", "b", "c"):
            records.put(put(pk, sk))
        records.transact([Delete(pk, "a"), put(pk, "d", absent=True), Delete(other, "never there"), Delete(pk, "c")])
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["b", "d"]
        assert records.get(pk, "a") is None
        records.put(put(pk, "a", absent=True, again=1))
        assert (records.get(pk, "a") or {})["again"] == 1

    def test_a_refused_transaction_removes_nothing(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a"))
        with pytest.raises(ConditionFailedError) as refused:
            records.transact([Delete(pk, "a"), put(pk, "b"), put(pk, "c", equals={"revision": 1})])
        assert refused.value.positions == (2,)
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["a"]

    def test_a_transaction_of_the_most_items_goes_through_whole(self, records: RecordStore) -> None:
        pk = fresh()
        records.transact([put(pk, f"a#{number:02d}") for number in range(100)])
        records.transact([Delete(pk, f"a#{number:02d}") for number in range(99)] + [put(pk, "b")])  # type: ignore[operator]
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["a#99", "b"]

    def test_many_items_come_in_the_order_of_their_keys(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        records.transact([put(pk, "a", n=1), put(pk, "b", n=0.5), put(other, "a", n=[3])])
        found = records.get_many([(other, "a"), (pk, "none"), (pk, "b"), (other, "b"), (pk, "a")])
        assert [item and item["n"] for item in found] == [[3], None, 0.5, None, 1]
        assert found[0] == {"pk": other, "sk": "a", "n": [3]}
        assert records.get_many([(other, "b")]) == (None,)

    def test_the_most_items_are_read_at_once_and_no_more(self, records: RecordStore) -> None:
        pk = fresh()
        records.transact([put(pk, f"{number}", n=number) for number in range(MOST_READS)])
        addresses = [(pk, f"{number}") for number in range(MOST_READS)]
        assert [(item or {})["n"] for item in records.get_many(addresses)] == list(range(MOST_READS))
        for wrong in ([*addresses, (pk, "one more")], [(pk, "0"), (pk, "0")], []):
            with pytest.raises(AWSError):
                records.get_many(wrong)

    def test_a_transaction_is_seen_whole_or_not_at_all(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        records.transact([put(pk, "a", n=0), put(other, "a", n=0)])
        rounds = 40

        def write() -> None:
            for number in range(1, rounds + 1):
                records.transact([put(pk, "a", n=number), put(other, "a", n=number)])

        with ThreadPoolExecutor(1) as pool:
            writer, seen = pool.submit(write), []
            while not writer.done():
                seen.append([(item or {})["n"] for item in records.get_many([(pk, "a"), (other, "a")])])
            writer.result()
        assert [pair for pair in seen if pair[0] != pair[1]] == []

    def test_of_many_writers_with_one_expectation_one_wins(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "d", revision=0))

        def write(writer: int) -> int | None:
            try:
                records.transact(
                    [
                        put(pk, "d", equals={"revision": 0}, revision=1, writer=writer),
                        put(pk, f"log#{writer}", absent=True),
                    ]
                )
            except ConditionFailedError as lost:
                assert lost.positions == (0,)  # noqa: PT017 - the loop is under test, not the error
                return None
            return writer

        with ThreadPoolExecutor(8) as pool:
            winners = [writer for writer in pool.map(write, range(8)) if writer is not None]
        assert winners == [(records.get(pk, "d") or {})["writer"]]
        assert [item["sk"] for item in records.query(pk, prefix="log#").items] == [f"log#{winners[0]}"]
