"""Large base64: what the library takes is what Python would have made of it; the rest is Python's to refuse."""

import base64
import binascii
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.serving import base64_body
from modelyard.serving.base64_body import decoded
from modelyard.serving.request import LARGE_BASE64
from tests.fakes.native import row_reader
from tests.unit.test_serving_request import event, read_body, refusal

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    row_reader()
    base64_body._decode = base64_body._library()
    assert base64_body._decode is not None


def by_python(text: str) -> bytes | str:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        return str(error)


def by_us(text: str) -> bytes | str:
    try:
        return decoded(text)
    except ValueError as error:
        return str(error)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_every_length_comes_back(content):
    assert decoded(base64.b64encode(content).decode()) == content


@given(st.text(alphabet=st.sampled_from(ALPHABET[:4] + "=\n -_\x00é\ud800"), max_size=24))
@settings(max_examples=2000, deadline=None)
def test_what_is_not_base64_is_pythons_to_refuse(text):
    assert by_us(text) == by_python(text)


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5000, 9995, 9996, 9999])
def test_each_character_at_each_place(place):
    text = ALPHABET[7] * 10_000
    for character in map(chr, range(256)):
        changed = f"{text[:place]}{character}{text[place + 1 :]}"
        assert by_us(changed) == by_python(changed)


def test_the_library_is_what_decodes(monkeypatch):
    content = os.urandom(100_000)
    text = base64.b64encode(content).decode()
    asked = []
    monkeypatch.setattr(base64_body, "a2b_base64", lambda part, **_: asked.append(part) or binascii.a2b_base64(part))
    assert decoded(text) == content
    assert asked == [text[-4:]]


def test_without_the_library_it_is_python(monkeypatch):
    monkeypatch.setattr(base64_body, "_decode", None)
    content = os.urandom(50_000)
    assert decoded(base64.b64encode(content).decode()) == content


@pytest.mark.parametrize("size", [LARGE_BASE64 - 4, LARGE_BASE64, LARGE_BASE64 + 4])
def test_a_body_around_the_limit(size):
    content = os.urandom(size // 4 * 3)
    assert read_body(event(base64.b64encode(content).decode(), binary=True))[1] == content
    text = "A" * (size - 1)
    assert refusal(event(text, binary=True)).code == "invalid_base64"
    assert refusal(event(f"{text}*", binary=True)).code == "invalid_base64"
