"""SageMaker's header both ways, and CSV in and out."""

import json
import time
from typing import Any

import pytest

from modelyard.errors import RequestError
from modelyard.predictor.signature import Signature, Tensor
from modelyard.server.invocations import HEADER, Asked, as_csv, asked_of, instances_of, told

VECTOR = Signature((Tensor("x", "float32", (None, 2)),), ())
SCALAR = Signature((Tensor("x", "float32", (None, 1)),), ())
COLUMNS = Signature(
    (Tensor("size", "float32", (None, 1)), Tensor("kind", "string", (None, 1)), Tensor("new", "bool", (None,))), ()
)


def instances(text: str | bytes, signature: Signature = VECTOR) -> Any:
    return json.loads(instances_of(text if isinstance(text, bytes) else text.encode(), signature))["instances"]


# -- the header --------------------------------------------------------------------------------------------------------


def test_the_way_ins_word_is_read() -> None:
    asked = asked_of(
        '{"route":"POST /models/x","proxy":"ready","id":"7","caller":"arn","account":"1","h":{"a":"b"},"async":1}'
    )
    assert asked == Asked("POST /models/x", "ready", "7", "arn", "1", {"a": "b"}, 1)
    assert asked.iam == {"userArn": "arn", "accountId": "1"}


def test_only_the_route_must_be_said() -> None:
    asked = asked_of('{"route":"GET /v2/models/x","news":[]}')
    assert asked == Asked("GET /v2/models/x")
    assert asked.iam is None
    assert Asked("r", caller="arn").iam == {"userArn": "arn"}


@pytest.mark.parametrize(
    "header", [None, "", "c", "[]", "{}", "{", "null", '"route"', '{"route":1}', '{"route":"r","h":[]}',
               '{"route":"r","h":{"a":1}}', '{"route":"r"} {}', '{"route":"r","async":"1"}', '{"route":"\\ud800"}'],
)  # fmt: skip
def test_whoever_says_something_else_is_another_client(header: str | None) -> None:
    assert asked_of(header) is None


def response(status: int, **headers: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json", **headers}, "body": '{"é": 1}'}


@pytest.mark.parametrize(
    ("status", "seen"), [(200, 200), (202, 200), (400, 200), (499, 200), (500, 500), (503, 503), (504, 504)]
)
def test_a_status_is_said_in_the_header_and_seen_by_sagemaker_from_500_on(status: int, seen: int) -> None:
    made = told(response(status, allow="POST"), Asked("r"), 3)
    assert made["statusCode"] == seen
    assert json.loads(made["headers"][HEADER]) == {"status": status, "n": 3, "h": {"allow": "POST"}}
    assert (made["headers"]["content-type"], made["headers"]["allow"]) == ("application/json", "POST")
    assert made["body"] == '{"é": 1}'.encode()


@pytest.mark.parametrize("status", [200, 422, 503])
def test_what_goes_to_s3_says_it_in_its_first_line(status: int) -> None:
    made = told(response(status, allow="POST"), Asked("r", in_s3=1), 3)
    first, _, rest = made["body"].partition(b"\n")
    assert json.loads(first) == {"status": status, "content_type": "application/json", "h": {"allow": "POST"}}
    assert rest == '{"é": 1}'.encode()
    assert (made["statusCode"], HEADER in made["headers"]) == (200, False)


def test_a_body_of_bytes_goes_out_as_it_is() -> None:
    made = {**response(200), "body": b"\x00\n\xff"}
    assert told(made, Asked("r"), 3)["body"] == b"\x00\n\xff"
    assert told(made, Asked("r", in_s3=1), 3)["body"].endswith(b"}\n\x00\n\xff")


# -- CSV in ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["1,2.5\n3,4\n", "1,2.5\n3,4", "1,2.5\r\n3,4\r\n", "\ufeff1,2.5\n3,4\n", '"1", 2.5\n3 ,"4"\n', "\n1,2.5\n\n3,4"],
)
def test_a_line_is_an_instance(text: str) -> None:
    assert instances(text) == [[1, 2.5], [3, 4]]


def test_a_single_number_is_no_list() -> None:
    assert instances("1\n2.5\n", SCALAR) == [1, 2.5]
    assert instances("x\n1\n", SCALAR) == [1]
    assert instances("1,2\n", SCALAR) == [[1, 2]]  # which the model refuses


def test_the_elements_of_an_input_of_several_dimensions_come_in_one_line() -> None:
    square = Signature((Tensor("x", "float32", (None, 2, 3)),), ())
    assert instances("1,2,3,4,5,6\n", square) == [[[1, 2, 3], [4, 5, 6]]]
    assert instances("1,2,3\n", square) == [[1, 2, 3]]  # which the model refuses
    cube = Signature((Tensor("x", "float32", (None, 2, 1, 2)),), ())
    assert instances("1,2,3,4\n", cube) == [[[[1, 2]], [[3, 4]]]]
    grows = Signature((Tensor("x", "float32", (None, None, 2)),), ())
    assert instances("1,2,3,4\n", grows) == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize("header", ["", "size,kind,new\n"])
def test_several_inputs_are_columns_with_or_without_their_names(header: str) -> None:
    text = f'{header}1,rain,true\n,"a, ""b""",FALSE\n'
    assert instances(text, COLUMNS) == [
        {"size": 1, "kind": "rain", "new": True},
        {"size": None, "kind": 'a, "b"', "new": False},
    ]


def test_text_stays_text() -> None:
    assert instances("1,007,true\n", COLUMNS) == [{"size": 1, "kind": "007", "new": True}]
    assert instances("007\ntrue\n 1 \n", Signature((Tensor("t", "string", (None,)),), ())) == ["007", "true", " 1 "]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("1.", 1.0), (".5", 0.5), ("-1e-3", -0.001), ("1E5", 1e5),
     (str(2**63 - 1), 2**63 - 1), (str(2**64 - 1), 2**64 - 1), (str(-(2**63)), -(2**63)),
     (str(2**64), float(2**64)), (str(-(2**63) - 1), -float(2**63)), ("1" + "0" * 300, 1e300)],
)  # fmt: skip
def test_a_number_is_a_number(cell: str, value: float) -> None:
    ((found, _),) = instances(f"{cell},0\n")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "cell", ["NaN", "nan", "inf", "-Infinity", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "1_000", "0x10", "1,5",
             "--1", "٣", "e5", ".", "1 2", "null", "é", "\0", "1\n2"],
)  # fmt: skip
def test_what_is_no_number_stays_text_and_the_model_refuses_it(cell: str) -> None:
    assert instances(f'"{cell}",0\n') == [[cell, 0]]


@pytest.mark.parametrize(
    "body", [b"\xff\xfe1\x00", b'"1,2\n', b'"1"2,3\n'],
    ids=["not UTF-8", "a quote left open", "after a quote"],
)  # fmt: skip
def test_what_is_no_csv_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        instances(body)
    assert (refused.value.code, refused.value.status) == ("invalid_csv", 400)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("line", ["1,rain", "1,rain,true,4", "1"])
def test_a_line_with_another_number_of_cells_is_named(line: str) -> None:
    with pytest.raises(RequestError, match="line 2 has") as refused:
        instances(f"1,rain,true\n{line}\n", COLUMNS)
    assert (refused.value.code, refused.value.row) == ("wrong_shape", 1)
    assert "size, kind, new" in str(refused.value.next_step)


def test_a_cell_may_be_as_large_as_a_body() -> None:
    text = "a" * 200_000
    assert instances(f"1,{text},true\n", COLUMNS)[0]["kind"] == text


@pytest.mark.parametrize("cell", ["1" * 100_000 + "x", "1" * 100_000, "1." + "0" * 100_000 + "x", "1e" + "1" * 100_000])
def test_a_long_cell_that_is_no_number_is_read_as_soon_as_a_short_one(cell: str) -> None:
    began = time.process_time()
    assert instances(f"{cell},0\n") == [[cell, 0]]
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(("cell", "value"), [("0" * 5_000, 0), ("-" + "0" * 5_000 + "7", -7), ("1" + "0" * 300, 1e300)])
def test_a_number_may_have_any_number_of_digits(cell: str, value: float) -> None:
    assert instances(f"{cell},0\n") == [[value, 0]]


def test_no_lines_are_no_instances() -> None:
    assert instances("") == instances("\n\n") == instances("size,kind,new\n", COLUMNS) == []


# -- CSV out -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_a_line_for_each_prediction() -> None:
    predictions = [1.5, [1, [2, 3]], {"label": "a, b", "p": {"no": 0.25, "yes": 0.75}}, "é", None, True]
    assert as_csv(json.dumps({"predictions": predictions}).encode()).decode().splitlines() == [
        "1.5", "1,2,3", '"a, b",0.25,0.75', "é", '""', "True",
    ]  # fmt: skip
