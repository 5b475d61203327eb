"""The owner's notes over HTTPS: who wrote them is kept, and nobody overwrites what they have not read."""

import pytest

from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import CALLER
from tests.fakes.stores import InMemoryRecordStore

PATH = f"/models/{MODEL}/notes"


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand().with_versions(1)


def test_notes_are_kept_as_they_were_written_and_by_whom(stand: ControlStand) -> None:
    nothing = {"model": MODEL, "text": "", "at": None, "by": None, "revision": 0}
    assert stand.get(PATH).body == nothing
    assert stand.put(PATH, {"text": ""}).body == nothing
    text = "    indented\n\n* one\n"
    written = stand.put(PATH, {"text": text, "expected_revision": 0})
    assert (written.status, written.body["text"], written.body["by"], written.body["revision"]) == (
        200,
        text,
        CALLER,
        1,
    )
    assert stand.get(PATH).body == written.body
    assert stand.put(PATH, {"text": text}).body == written.body
    gone = stand.put(PATH, {"text": "", "expected_revision": 1}).body
    assert (gone["text"], gone["revision"], gone["by"]) == ("", 2, CALLER)
    kinds = [entry["kind"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
    assert kinds == ["noted", "noted", "registered"]


def test_notes_that_somebody_else_wrote_are_not_overwritten(stand: ControlStand) -> None:
    stand.put(PATH, {"text": "one"})
    answer = stand.put(PATH, {"text": "two", "expected_revision": 0})
    assert (answer.status, answer.code, answer.body["field"]) == (409, "revision_changed", "expected_revision")
    assert "revision 1" in answer.body["detail"]
    assert stand.get(PATH).body["text"] == "one"


def test_notes_that_somebody_else_writes_at_the_same_time_are_not_overwritten() -> None:
    class Racing(InMemoryRecordStore):
        """Somebody writes notes just before the first transaction that would."""

        stand: ControlStand | None = None

        def transact(self, writes: object) -> None:
            stand, self.stand = self.stand, None
            if stand is not None:
                stand.registry("somebody").write_notes(MODEL, "first")
            super().transact(writes)

    records = Racing()
    stand = ControlStand(records=records).with_versions(1)
    records.stand = stand
    answer = stand.put(PATH, {"text": "second"})
    assert (answer.status, answer.code) == (409, "revision_changed")
    assert "somebody wrote revision 1" in answer.body["detail"]
    assert stand.get(PATH).body["text"] == "first"


def test_a_model_that_does_not_exist_takes_no_notes(stand: ControlStand) -> None:
    answer = stand.put("/models/nothing_here/notes", {"text": "hello"})
    assert (answer.status, answer.code) == (404, "not_found")
