"""The body of an HTTP API event, and everything that it can be wrong with."""

import base64
import copy
import gzip
import json
import sys
from pathlib import Path

import pytest

from modelyard.errors import RequestError
from modelyard.predictor import reader
from modelyard.serving.request import MAX_BODY_BYTES, read_body

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_predict.json").read_text())


def read_instances(event: object) -> list:
    return reader.read_instances(read_body(event)[1])


def event(body=None, *, headers=None, binary=False) -> dict:
    changed = copy.deepcopy(EVENT)
    changed["body"] = body
    changed["headers"].update(headers or {})
    changed["isBase64Encoded"] = binary
    return changed


def refusal(changed) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_instances(changed)
    return caught.value


def test_a_real_event_gives_its_instances():
    assert read_instances(EVENT) == [{"x": [1.0, 2.0]}]


def test_a_base64_body_is_decoded():
    body = base64.b64encode(b'{"instances": [1, 2]}').decode()
    assert read_instances(event(body, binary=True)) == [1, 2]


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;q=1"]
)
def test_json_content_types_are_taken(content_type):
    assert read_instances(event('{"instances": [1]}', headers={"content-type": content_type})) == [1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "empty_body"),
        ("", "empty_body"),
        (" ", "invalid_json"),
        ("instances=1", "invalid_json"),
        ('{"instances": [1]', "invalid_json"),
        ('{"instances": [NaN]}', "invalid_json"),
        ('{"instances": [Infinity]}', "invalid_json"),
        ('{"instances": [1e400]}', "invalid_json"),
        ('{"instances": ["\\ud800"]}', "invalid_json"),
        ('{"instances": ["\ud800"]}', "invalid_json"),
        ("\ufeff{}", "invalid_json"),
        ("[" * 20_000, "invalid_json"),
        ('{"instances": ' + "[" * 20_000 + "]" * 20_000 + "}", "invalid_json"),
        ('{"a":' * 20_000 + "1" + "}" * 20_000, "invalid_json"),
        ("[]", "wrong_type"),
        ("1", "wrong_type"),
        ("null", "wrong_type"),
        ("{}", "missing_field"),
        ('{"instances": null}', "wrong_type"),
        ('{"instances": {"x": 1}}', "wrong_type"),
        ('{"instances": "abc"}', "wrong_type"),
        ('{"instances": [1], "parameters": {}}', "unknown_field"),
        ('{"instances": [1], "instances": [2]}', "duplicate_key"),
        ('{"instances": [{"x": 1, "x": 2}]}', "duplicate_key"),
        ('{"instances": [{"x": 1, "\\u0078": 2}]}', "duplicate_key"),
        ('{"instances": [{"x": "a:b", "y" : 1, "y" : 2}]}', "duplicate_key"),
        ('{"instances": [{"x": {"y": 1, "y": 1}}]}', "duplicate_key"),
    ],
)
def test_a_bad_body_is_refused_with_a_code(body, code):
    refused = refusal(event(body))
    assert (refused.code, refused.status) == (code, 400)
    assert len(refused.message) < 300


def test_colons_in_text_and_nested_objects_are_no_duplicates():
    body = '{"instances": [{"at": "10:00:00", "in": {"at": "::"}}, {"at": "", "in": {}}]}'
    assert read_instances(event(body)) == json.loads(body)["instances"]


def test_nesting_that_the_second_reading_may_not_follow_is_answered_or_refused():
    """How deep the standard library reads differs between Pythons; none may end in a RecursionError."""
    depth = 1020
    body = '{"instances": [":", ' + "[" * depth + "]" * depth + "]}"
    try:
        code = None if len(read_instances(event(body))) == 2 else "wrong length"
    except RequestError as refused:
        code = refused.code
    assert code in (None, "invalid_json")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_415(content_type):
    refused = refusal(event('{"instances": [1]}', headers={"content-type": content_type}))
    assert (refused.code, refused.status) == ("unsupported_media_type", 415)
    assert "content-type" in (refused.next_step or "")


def test_no_headers_at_all_is_415():
    changed = event('{"instances": [1]}')
    del changed["headers"]
    assert refusal(changed).status == 415


def test_a_compressed_body_is_refused_and_never_unpacked():
    bomb = base64.b64encode(gzip.compress(b"0" * 50_000_000)).decode()
    refused = refusal(event(bomb, headers={"content-encoding": "gzip"}, binary=True))
    assert (refused.code, refused.status) == ("unsupported_encoding", 415)
    assert refusal(event(bomb, binary=True)).code == "invalid_json"


@pytest.mark.parametrize("encoding", ["", " ", "identity", "Identity "])
def test_an_encoding_that_changes_nothing_is_taken(encoding):
    assert read_instances(event('{"instances": [1]}', headers={"content-encoding": encoding}))


@pytest.mark.parametrize("body", ["e30", "e30==", "e3 0=", "%%%", "\u00e9"])
def test_bad_base64_is_refused(body):
    assert refusal(event(body, binary=True)).code == "invalid_base64"


def _sized(size: int, fill: str = " ") -> str:
    frame = '{"instances": [1]}'
    return frame + fill * ((size - len(frame)) // len(fill.encode()))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("over", "refused"), [(-1, False), (0, False), (1, True)])
def test_six_mebibytes_are_taken_and_one_byte_more_is_413(binary, over, refused):
    text = _sized(MAX_BODY_BYTES + over)
    body = base64.b64encode(text.encode()).decode() if binary else text
    if refused:
        found = refusal(event(body, binary=binary))
        assert (found.code, found.status) == ("body_too_large", 413)
        assert found.message.startswith(f"the body has {MAX_BODY_BYTES + over:,} bytes")
    else:
        assert read_instances(event(body, binary=binary)) == [1]


def test_the_limit_counts_bytes_not_characters():
    body = '{"instances": ["' + "\u65e5" * (MAX_BODY_BYTES // 3) + '"]}'
    assert len(body) < MAX_BODY_BYTES
    assert refusal(event(body)).code == "body_too_large"


@pytest.mark.parametrize("changed", [None, [], "event", {}, {"Records": []}, {"instances": [1]}])
def test_an_event_of_another_kind_is_refused(changed):
    assert refusal(changed).code == "invalid_event"


def test_odd_header_values_do_not_raise():
    for value in (None, 5, ["application/json"], {"a": 1}):
        with pytest.raises(RequestError):
            read_instances(event('{"instances": [1]}', headers={"content-type": value, "content-encoding": value}))


def test_the_parser_leaves_the_recursion_limit_alone():
    before = sys.getrecursionlimit()
    refusal(event("[" * 20_000))
    assert sys.getrecursionlimit() == before
