"""A pointer is believed only whole."""

import copy
import json

import pytest

from modelyard.errors import ModelyardError
from modelyard.pointer_key import pointer_key
from modelyard.serving.pointer import Pointer
from tests.fakes import onnx_models
from tests.fakes.objects import pointer_to

POINTER = pointer_to("weather", onnx_models.row_sum(), version=2, revision=3)


def test_a_pointer_names_the_champion_and_its_revision():
    pointer = Pointer.parse(json.dumps(POINTER).encode(), model="weather")
    champion = pointer.champion
    assert pointer.revision == 3
    assert (champion.version, champion.digest, champion.file.size) == (
        2,
        POINTER["champion"]["digest"],
        POINTER["champion"]["size"],
    )
    assert pointer_key("weather") == "deployments/weather.json"


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b'"x"', b"\xff", json.dumps(POINTER).encode()[:-20]])
def test_bytes_that_are_no_pointer_are_refused(raw):
    with pytest.raises(ModelyardError) as caught:
        Pointer.parse(raw, model="weather")
    assert caught.value.code == "invalid_pointer"


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "format", 2),
        ((), "format", None),
        ((), "model", "other"),
        ((), "revision", "3"),
        ((), "revision", None),
        ((), "revision", True),
        ((), "champion", None),
        ((), "champion", []),
        (("champion",), "version", "2"),
        (("champion",), "digest", None),
        (("champion",), "key", 5),
        (("champion",), "size", 1.5),
        (("champion",), "signature", None),
        (("champion",), "contract", []),
        (("champion",), "forms", {}),
        (("champion",), "forms", [None]),
        (("champion",), "forms", [{"architecture": "any", "model": {"key": "k", "digest": "d"}}]),
        (
            ("champion",),
            "forms",
            [{"architecture": "any", "model": {"key": "k", "digest": "d", "size": 1}, "weights": 5}],
        ),
    ],
)
def test_one_wrong_field_refuses_the_whole(place, key, value):
    changed = copy.deepcopy(POINTER)
    section = changed
    for part in place:
        section = section[part]
    section[key] = value
    with pytest.raises(ModelyardError) as caught:
        Pointer.parse(json.dumps(changed).encode(), model="weather")
    assert caught.value.code == "invalid_pointer"
