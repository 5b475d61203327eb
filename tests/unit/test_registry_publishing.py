"""Registering: what becomes visible, what does not, and what a crash leaves."""

import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.compiling.outcome import CompilationRefused
from modelyard.errors import AWSError, ConflictError, ModelyardError, UsageError
from modelyard.ports import ConditionFailedError
from modelyard.registry import keys
from modelyard.version import Compilation, Lineage, Signature, TensorSpec, artifact_key
from tests.fakes.broken_stores import Outage
from tests.fakes.registries import SIGNATURE, Yard, register
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore


def everything(yard: Yard) -> dict[str, Any]:
    return {"records": yard.records._items, "objects": yard.artifacts.objects}


def test_the_first_version_creates_the_model(yard: Yard) -> None:
    version = yard.add(note="hello", metrics={"accuracy": 1}, description="Rain or not", owner="ana@example.com")
    digest = hashlib.sha256(b"model").hexdigest()
    assert (version.number, version.author, version.created_at) == (1, "ana", "2026-11-21T10:00:00.000000Z")
    assert version.manifest.key == f"artifacts/sha256/{digest}/model.onnx"
    assert yard.artifacts.objects == {version.manifest.key: b"model"}
    model = yard.registry().model("weather")
    assert (model.versions, model.task, model.description, model.owner) == (
        1,
        "binary",
        "Rain or not",
        "ana@example.com",
    )
    assert [line.name for line in yard.registry().models().items] == ["weather"]
    (entry,) = yard.registry().history("weather").items
    assert (entry.kind, entry.version, entry.actor, entry.reason) == ("registered", 1, "ana", "hello")


def test_records_lie_under_the_final_keys(yard: Yard) -> None:
    version = yard.add()
    (entry,) = yard.registry().history("weather").items
    assert set(yard.records._items["MODEL#weather"]) == {
        "MODEL",
        "VERSION#00000001",
        f"IDENTITY#{version.manifest.identity}",
        f"LEDGER#2026-11-21T10:00:00.000000Z#{entry.operation}",
    }
    assert set(yard.records._items["CATALOGUE"]) == {"weather"}


def test_the_same_bytes_again_are_the_same_version(yard: Yard) -> None:
    first = yard.add(metrics={"accuracy": 0.5}, lineage=Lineage(run_id="run-1"))
    before = repr(everything(yard))
    again = yard.registry("bob").register(
        "weather",
        b"model",
        task="binary",
        signature=SIGNATURE,
        metrics={"accuracy": 0.6},
        lineage=Lineage(run_id="run-2"),
    )
    assert (again.version, again.created) == (first, False)
    assert repr(everything(yard)) == before


def test_only_what_is_new_is_compiled(yard: Yard) -> None:
    compiled: list[bytes] = []

    def compiler(artifact: bytes) -> CompilationRefused:
        compiled.append(artifact)
        return CompilationRefused("kept_as_it_is", "it is small")

    version = yard.add(compiler=compiler)
    assert yard.add(compiler=compiler, metrics={"accuracy": 1}) == version
    assert compiled == [b"model"]
    assert version.manifest.compilation == Compilation(refused="kept_as_it_is: it is small")
    assert yard.add("other", compiler=compiler).manifest.compilation == version.manifest.compilation
    assert compiled == [b"model"] * 2


def test_of_the_same_bytes_again_what_was_lost_is_stored_again(yard: Yard) -> None:
    version = yard.add()
    del yard.artifacts.objects[version.manifest.key]
    assert yard.add() == version
    assert yard.artifacts.objects[version.manifest.key] == b"model"


def test_numbers_count_within_a_model(yard: Yard) -> None:
    assert [yard.add("a", b"1").number, yard.add("b", b"1").number, yard.add("a", b"2").number] == [1, 1, 2]
    assert len(yard.artifacts.objects) == 2, "the same bytes are stored once, whatever model they are of"


def test_a_later_version_may_change_the_description_in_the_listing_too(yard: Yard) -> None:
    yard.add(body=b"1", description="old", owner="ana")
    yard.add(body=b"2", description="new")
    (line,) = yard.registry().models().items
    assert (line.description, line.owner, yard.registry().model("weather").description) == ("new", "ana", "new")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "../x"}, "invalid_name"),
        ({"model": "a/b"}, "invalid_name"),
        ({"model": "a\0b"}, "invalid_name"),
        ({"model": "\u202erain"}, "invalid_name"),
        ({"model": "r" * 256}, "invalid_name"),
        ({"model": "Weather"}, "invalid_name"),
        ({"model": ""}, "invalid_name"),
        ({"model": "weather\n"}, "invalid_name"),
        ({"model": None}, "invalid_name"),
        ({"artifact": b""}, "empty_artifact"),
        ({"task": "magic"}, "invalid_task"),
        ({"metrics": {"r2": math.nan}}, "invalid_json"),
        ({"metrics": {"r2": "high"}}, "invalid_manifest"),
        ({"contract": {"a": [math.inf]}}, "invalid_json"),
        ({"contract": {"a": "x" * 300_000}}, "invalid_text"),
        ({"contract": {str(n): "x" * 1000 for n in range(300)}}, "manifest_too_large"),
        ({"contract": {"columns": {}}}, "invalid_contract"),
        ({"contract": {"format": 1, "rows": 0, "fields": {}}}, "invalid_contract"),
        ({"accept_breaking": " "}, "reason_required"),
        ({"accept_breaking": "\ud800"}, "invalid_text"),
        ({"note": "\ud800"}, "invalid_text"),
        ({"note": "x" * 5000}, "invalid_text"),
        ({"note": "\x1b[2Jgone"}, "invalid_text"),
        ({"description": "x" * 5000}, "invalid_text"),
        ({"description": "\u202edoog"}, "invalid_text"),
        ({"owner": "ana\nbob"}, "invalid_text"),
        ({"number": 0}, "invalid_version"),
        ({"number": True}, "invalid_version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    yard: Yard, changes: dict[str, Any], code: str
) -> None:
    parts: dict[str, Any] = {"model": "weather", "artifact": b"model", "task": "binary", "signature": SIGNATURE}
    with pytest.raises(UsageError) as refused:
        yard.registry().register(**(parts | changes))
    assert refused.value.code == code
    assert everything(yard) == {"records": {}, "objects": {}}


@pytest.mark.parametrize("name", ["status", "class", "con", "models", "a"])
def test_words_that_are_reserved_elsewhere_are_names_like_any(yard: Yard, name: str) -> None:
    yard.live(name, 1)
    assert yard.registry().model(name).versions == 1


def test_a_taken_number_keeps_its_bytes(yard: Yard) -> None:
    yard.add(body=b"1")
    yard.add(body=b"2", number=2)
    with pytest.raises(ConflictError) as refused:
        yard.add(body=b"other", number=2)
    assert refused.value.code == "version_exists"
    with pytest.raises(ConflictError) as refused:
        yard.add(body=b"other", number=9)
    assert refused.value.code == "version_gap"
    assert yard.add(body=b"2", number=2).number == 2
    assert yard.registry().model("weather").versions == 2


def test_damaged_bytes_are_not_registered(yard: Yard) -> None:
    key = f"artifacts/sha256/{hashlib.sha256(b'model').hexdigest()}/model.onnx"
    yard.artifacts.objects[key] = b"modeX"
    with pytest.raises(AWSError, match="holds other bytes") as refused:
        yard.add()
    assert refused.value.code == "artifact_damaged"
    assert yard.records._items == {}


def test_bytes_without_a_stored_checksum_are_read_back(yard: Yard) -> None:
    key = f"artifacts/sha256/{hashlib.sha256(b'model').hexdigest()}/model.onnx"
    yard.artifacts.objects[key] = b"model"
    assert yard.artifacts.head(key).sha256 is None  # type: ignore[union-attr]
    assert yard.add().number == 1


def test_an_orphan_of_an_earlier_crash_is_taken_up(yard: Yard) -> None:
    digest = hashlib.sha256(b"model").hexdigest()
    yard.artifacts.put_if_absent(
        f"artifacts/sha256/{digest}/model.onnx", b"model", sha256=digest, content_type="application/octet-stream"
    )
    assert yard.add().number == 1


def calls_of_a_registration() -> int:
    outage, yard = Outage(None), Yard()
    register(broken(yard, outage), "weather", b"model")
    return len(outage.calls)


def broken(yard: Yard, outage: Outage) -> Any:
    return yard.registry(records=outage.over(yard.records), artifacts=outage.over(yard.artifacts))


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("at", range(calls_of_a_registration()))
def test_a_cut_at_any_call_leaves_no_record_without_bytes_and_can_be_repeated(yard: Yard, at: int, after: bool) -> None:
    outage = Outage(at, after=after)
    with pytest.raises(ModelyardError, match="cut"):
        register(broken(yard, outage), "weather", b"model")
    visible = yard.records._items.get("MODEL#weather", {})
    if visible:
        assert yard.artifacts.objects, "a record without its bytes"
        assert "VERSION#00000001" in visible
        assert "CATALOGUE" in yard.records._items
    assert register(yard.registry(), "weather", b"model").number == 1
    assert yard.registry().model("weather").versions == 1
    assert len(yard.registry().history("weather").items) == 1
    assert len(yard.artifacts.objects) == 1


def test_a_lost_answer_that_the_client_library_repeats_still_says_created(yard: Yard) -> None:
    class Repeating(InMemoryRecordStore):
        def transact(self, puts: Any) -> None:
            super().transact(puts)
            super().transact(puts)  # what a retry below us looks like: the second attempt finds its own first

    made = yard.registry(records=Repeating()).register("weather", b"model", task="binary", signature=SIGNATURE)
    assert (made.version.number, made.created) == (1, True)


def test_many_writers_get_dense_numbers_with_no_give_ups(yard: Yard) -> None:
    writers = 16
    start = threading.Barrier(writers)

    def write(writer: int) -> int:
        start.wait()
        return register(yard.registry(f"writer {writer}"), "weather", f"model {writer}".encode()).number

    with ThreadPoolExecutor(writers) as pool:
        numbers = list(pool.map(write, range(writers)))
    assert sorted(numbers) == list(range(1, writers + 1))
    versions = yard.registry().versions("weather").items
    assert {version.number: version.author for version in versions} == {
        number: f"writer {writer}" for writer, number in enumerate(numbers)
    }
    assert len(yard.registry().history("weather").items) == writers


def test_a_writer_that_never_wins_hears_so_after_the_deadline(yard: Yard) -> None:
    class AlwaysLate(InMemoryRecordStore):
        def transact(self, puts: Any) -> None:
            raise ConditionFailedError([1])

    with pytest.raises(ConflictError, match="not registered") as refused:
        register(yard.registry(records=AlwaysLate(), deadline_s=0.05), "weather", b"model")
    assert refused.value.code == "contended"
    assert "repeating it is safe" in (refused.value.next_step or "")


def test_the_store_refuses_bytes_that_were_changed_on_the_way(yard: Yard) -> None:
    class Flipping(InMemoryArtifactStore):
        def put_if_absent(self, key: str, body: bytes, **parts: Any) -> bool:
            return super().put_if_absent(key, body[::-1], **parts)

    with pytest.raises(ModelyardError) as refused:
        register(yard.registry(artifacts=Flipping()), "weather", b"model")
    assert refused.value.code == "checksum_mismatch"
    assert yard.records._items == {}


def test_a_manifest_in_one_item_stays_under_the_limit_of_the_table(yard: Yard) -> None:
    inputs = tuple(TensorSpec(f"column {n}", "float32", (None, 1)) for n in range(1000))
    said = {"dtype": "float32", "shape": [None, 1], "mode": "reject", "nulls": True, "null_rate": 1 / 3}
    fields = {tensor.name: {**said, "minimum": n / 7, "maximum": n + 0.5} for n, tensor in enumerate(inputs)}
    contract = {"format": 1, "rows": 9, "fields": fields}
    version = yard.add(contract=contract, signature=Signature(inputs, SIGNATURE.outputs))
    stored = yard.records._items["MODEL#weather"][keys.version(1)]
    assert version.manifest.contract == contract
    assert size_in_table({"M": stored}) < 400 * 1024


def size_in_table(attribute: dict[str, Any]) -> int:
    """DynamoDB's count: UTF-8 of names and text, about 21 bytes a number, 3 a container and 1 an entry."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return 21
        case "M":
            return 3 + sum(1 + len(key.encode()) + size_in_table(entry) for key, entry in value.items())
        case "L":
            return 3 + sum(1 + size_in_table(entry) for entry in value)
    return 1


def test_equal_bytes_that_were_sent_in_other_parts_are_not_damaged() -> None:
    yard = Yard()
    yard.artifacts.part_bytes = 6
    digest = hashlib.sha256(b"nine byte").hexdigest()
    yard.artifacts.put_if_absent(artifact_key(digest), b"nine byte", content_type="x/y", sha256=digest)
    yard.artifacts.part_bytes = 5  # as many parts, of another size
    assert yard.add(body=b"nine byte").number == 1
    yard.artifacts.objects[artifact_key(digest)] = b"nine bytf"
    with pytest.raises(AWSError) as refused:
        yard.add("other", body=b"nine byte")
    assert refused.value.code == "artifact_damaged"
