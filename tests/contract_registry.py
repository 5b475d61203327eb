"""What the registry must do over both pairs of stores: the fakes of the unit tests and the adapters against AWS.

A test module subclasses the suite and gives it the fixtures ``records`` and ``artifacts``.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import ConflictError
from modelyard.pointer_key import pointer_key
from modelyard.ports import (
    ArtifactStore,
    RecordStore,
)
from modelyard.registry import Registry
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.contract_records import fresh

SIGNATURE = Signature((TensorSpec("x", "float32", (None, 3)),), (OutputSpec("y", "float32", (None, 2), ("no", "yes")),))


class RegistryContract:
    """Suite for the registry over a pair of stores; needs both fixtures. Short: its rules have unit tests."""

    def test_writers_at_once_get_dense_numbers(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model, writers = fresh(), 64

        def register(writer: int) -> int:
            registry = Registry(records, artifacts, actor=f"writer {writer}")
            body = f"model of {writer}".encode()
            return registry.register(model, body, task="binary", signature=SIGNATURE).version.number

        with ThreadPoolExecutor(writers) as pool:
            numbers = list(pool.map(register, range(writers)))
        registry = Registry(records, artifacts, actor="reader")
        assert sorted(numbers) == list(range(1, writers + 1))
        assert [v.number for v in registry.versions(model, limit=100).items] == list(range(writers, 0, -1))
        assert registry.model(model).versions == writers
        assert len(registry.history(model, limit=100).items) == writers

    def test_the_same_manifest_at_once_is_one_version(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model = fresh()

        def register(writer: int) -> tuple[int, bool]:
            registry = Registry(records, artifacts, actor=f"writer {writer}")
            made = registry.register(model, b"the same", task="binary", signature=SIGNATURE)
            return made.version.number, made.created

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(register, range(8)))
        assert sorted(outcomes) == [(1, False)] * 7 + [(1, True)]

    def test_of_promotions_from_one_revision_one_wins(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model, callers = fresh(), 50
        registry = Registry(records, artifacts, actor="owner")
        for number in range(3):
            registry.register(model, f"{number}".encode(), task="binary", signature=SIGNATURE)
        registry.promote(model, 1)

        def promote(caller: int) -> str | ConflictError:
            mine = Registry(records, artifacts, actor=f"caller {caller}")
            try:
                mine.promote(model, 2 + caller % 2, expected_revision=1)
            except ConflictError as lost:
                return lost
            return mine.actor

        with ThreadPoolExecutor(callers) as pool:
            outcomes = list(pool.map(promote, range(callers)))
        (winner,) = (outcome for outcome in outcomes if isinstance(outcome, str))
        for lost in (outcome for outcome in outcomes if isinstance(outcome, ConflictError)):
            assert lost.code == "revision_changed"
            assert "at revision 2" in lost.message
            assert f"{winner} " in lost.message, "who was first is said"
        live = registry.deployment(model)
        assert live is not None
        assert (live.revision, live.changed_by) == (2, winner)
        assert [entry.revision for entry in registry.history(model).items if entry.kind == "promoted"] == [2, 1]
        pointer = json.loads((artifacts.get(pointer_key(model)) or pytest.fail("no pointer")).body)
        assert (pointer["revision"], pointer["champion"]["version"]) == (2, live.champion)

    def test_the_past_can_be_asked_and_put_live_again(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model = fresh()
        registry = Registry(records, artifacts, actor="owner")
        # Numbers that a database may round, and one that reads as an integer.
        field = {
            "dtype": "float32", "shape": [None, 3], "mode": "reject", "minimum": 1.0, "maximum": 1e38, "nulls": False,
            "null_rate": 1 / 3,
        }  # fmt: skip
        contract = {"format": 1, "rows": 3, "fields": {"x": field}}
        for number in range(2):
            registry.register(
                model,
                f"{number}".encode(),
                task="binary",
                signature=SIGNATURE,
                contract=contract,
                metrics={"accuracy": 1, "log_loss": 0.123456789012345678},
            )
        first, second = registry.promote(model, 1), registry.promote(model, 2, reason="better")
        third = registry.rollback(model, reason="it was not")
        assert (third.champion, third.revision) == (1, 3)
        assert [registry.deployment_at(model, change.changed_at) for change in (first, second, third)] == [
            first,
            second,
            third,
        ]
        version = registry.version(model, 1)
        assert version.manifest.contract == contract
        assert version.manifest.identity == registry.version(model, 1).manifest.identity
        again = registry.register(
            model, b"0", task="binary", signature=SIGNATURE, contract=contract, metrics={"accuracy": 0.5}
        )
        assert (again.version, again.created) == (version, False)

    def test_an_upload_is_claimed_once(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        key = f"{fresh()}/käse +.csv"
        registry = Registry(records, artifacts, actor="workflow")
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda run: registry.claim("bucket", key, "v1", f"run-{run}"), range(8)))
        assert won.count(True) == 1
        assert registry.claim("bucket", key, "v1", f"run-{won.index(True)}"), "the same run may ask again"
        assert registry.claim("bucket", key, "v2", "run-9"), "another object version is another upload"
