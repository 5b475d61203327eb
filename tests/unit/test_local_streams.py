"""The emulator's saved state before a start: streams are read from their beginning."""

import json
from pathlib import Path

import pytest

from modelyard.local.streams import rewind


def _saved(folder: Path, positions: object) -> Path:
    path = folder / "lambda.json"
    path.write_text(json.dumps({"payload": {"functions": {"code": 190}, "dynamodb_stream_positions": positions}}))
    return path


def test_counts_of_what_was_read_become_zero_and_nothing_else_changes(tmp_path: Path) -> None:
    positions = {"__scoped__": True, "data": {"account\0region\0'28d0-9369-1904'": 190, "other": 7, "none": 0}}
    path = _saved(tmp_path, positions)
    size = path.stat().st_size
    rewind(tmp_path)
    assert path.stat().st_size == size
    payload = json.loads(path.read_text())["payload"]
    assert payload["dynamodb_stream_positions"] == {"__scoped__": True, "data": dict.fromkeys(positions["data"], 0)}
    assert payload["functions"] == {"code": 190}


@pytest.mark.parametrize("content", [None, b"", b"{}", b"cut off"])
def test_a_state_without_counts_stays_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "lambda.json"
    if content is not None:
        path.write_bytes(content)
    rewind(tmp_path)
    assert path.exists() == (content is not None)
    assert content is None or path.read_bytes() == content
