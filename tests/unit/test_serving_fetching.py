"""`Fetch`: a file comes whole or not at all, and as slowly as requests can stand."""

import hashlib
import os
import time

import pytest

from modelyard.errors import ModelyardError
from modelyard.serving import fetching
from modelyard.serving.fetching import Fetch
from modelyard.serving.pointer import File

PIECES = [bytes([number]) * 1000 for number in range(20)]
CONTENT = b"".join(PIECES)
FILE = File("k", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Slowly:
    """A bucket that notes when each piece was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def pieces(self, key):
        for piece in PIECES:
            self.asked.append(time.monotonic())
            yield piece


@pytest.fixture
def descriptor(tmp_path):
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.mark.parametrize(("rate", "spread_s"), [(1, 0.4), (len(CONTENT) / 0.4, 60.0)], ids=["its time", "the rate"])
def test_a_file_is_spread_evenly_over_the_time_it_has(descriptor, monkeypatch, rate, spread_s):
    monkeypatch.setattr(fetching, "BESIDE_BYTES_PER_S", rate)
    bucket = Slowly()
    began = time.monotonic()
    Fetch(bucket, "m", in_haste=False, spread_s=spread_s).into(FILE, descriptor)
    assert time.monotonic() - began >= 0.39
    early = [place for place, asked in enumerate(bucket.asked) if asked - began < 0.4 * place / len(PIECES) - 0.005]
    assert early == []
    assert os.pread(descriptor, len(CONTENT) + 1, 0) == CONTENT


def test_without_requests_it_comes_as_it_can(descriptor):
    began = time.monotonic()
    Fetch(Slowly(), "m", in_haste=False).into(FILE, descriptor)
    assert time.monotonic() - began < 0.2


@pytest.mark.parametrize(
    "named", [File("k", "0" * 64, len(CONTENT)), File("k", FILE.digest, 999), File("k", FILE.digest, 30_000)]
)
def test_another_file_than_the_pointer_names_is_refused(descriptor, named):
    with pytest.raises(ModelyardError) as refused:
        Fetch(Slowly(), "m", in_haste=False).into(named, descriptor)
    assert refused.value.code == "wrong_digest"
