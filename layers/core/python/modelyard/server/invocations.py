"""SageMaker's contract: ``POST /invocations``, with the way in's word on what was asked, or without.

Modelyard's way in asks for any route of a model and says which in one header, with who asks; the answer says its status
in the same header, because SageMaker makes an error of its own of every status but 200. Failures of the server keep
theirs, so that SageMaker counts them. Whoever else invokes the endpoint asks the only model for a prediction, and gets
plain statuses. https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html

The header is believed: only `InvokeEndpoint` comes here, and only the way in may call that.
"""

import csv
import io
import re
from math import isfinite, prod
from typing import Any

import msgspec

from modelyard.errors import RequestError
from modelyard.predictor.signature import Signature, Tensor

HEADER = "x-amzn-sagemaker-custom-attributes"
CSV = "text/csv"

csv.field_size_limit(2**31 - 1)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # one way to read each: it is linear
_INTEGERS = range(-(2**63), 2**64)  # that some dtype has
_DIGITS = 21  # more than any of them
_LONGEST = 10_000  # of a number's digits; a cell may be as large as a body


class Asked(msgspec.Struct, frozen=True):
    """What the way in says of a request.

    Attributes:
        route: As API Gateway names it.
        proxy: The rest of the path.
        id: Of the request.
        caller: ARN of who asks, as API Gateway has established it.
        account: Of the same.
        h: Headers of the request that mean something to the server.
        in_s3: Whether the answer goes to S3, where it has no headers.
    """

    route: str
    proxy: str | None = None
    id: str | None = None
    caller: str | None = None
    account: str | None = None
    h: dict[str, str] = {}
    in_s3: int = msgspec.field(default=0, name="async")

    @property
    def iam(self) -> dict[str, str] | None:
        """As API Gateway's authorizer puts it into an event."""
        if self.caller is None:
            return None
        return {"userArn": self.caller, **({} if self.account is None else {"accountId": self.account})}


_ASKED = msgspec.json.Decoder(Asked)
_encode = msgspec.json.Encoder().encode


def asked_of(header: str | None) -> Asked | None:
    """What the way in says; None where somebody else asks."""
    if header is None or not header.startswith("{"):
        return None
    try:
        return _ASKED.decode(header)
    except msgspec.DecodeError:
        return None


def told(response: dict[str, Any], asked: Asked, rows: int) -> dict[str, Any]:
    """The response as the way in gets it.

    Args:
        response: What the endpoint answered.
        asked: What the way in has said.
        rows: How many instances were asked for.
    """
    status, headers = response["statusCode"], response["headers"]
    own = {name: value for name, value in headers.items() if name != "content-type"}
    body = response["body"] if type(response["body"]) is bytes else response["body"].encode()
    if asked.in_s3:
        first = {"status": status, "content_type": headers["content-type"], "h": own}
        return {"statusCode": 200, "headers": {"content-type": "application/octet-stream"},
                "body": _encode(first) + b"\n" + body}  # fmt: skip
    said = _encode({"status": status, "n": rows, "h": own}).decode()
    return {
        "statusCode": status if status >= 500 else 200,
        "headers": {**headers, HEADER: said},
        "body": body,
    }


def instances_of(body: bytes, signature: Signature) -> bytes:
    """The JSON body that a CSV one stands for.

    A line is an instance, without a header unless the first line names the inputs; the columns are the inputs in the
    order of the signature, or with a single input its elements, the last dimension fastest. An empty cell is ``null``.

    Args:
        body: UTF-8.
        signature: Of the model.

    Raises:
        RequestError: With code ``invalid_csv`` or ``wrong_shape``.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"the body is not CSV: {error}", code="invalid_csv", next_step="Send UTF-8.") from None
    inputs = signature.inputs
    names = [tensor.name for tensor in inputs]
    if lines and lines[0] == names:
        del lines[0]
    if len(inputs) == 1:
        tensor = inputs[0]
        number = tensor.dtype != "string"
        vectors = [[_cell(cell, number) for cell in line] for line in lines]
        scalar = tensor.shape[1:] in ((), (1,))
        return _encode({"instances": [row[0] if scalar and len(row) == 1 else _nested(row, tensor) for row in vectors]})
    instances = []
    for row, line in enumerate(lines):
        if len(line) != len(inputs):
            raise RequestError(
                f"line {row + 1} has {len(line)} cells; the model has {len(inputs)} inputs",
                code="wrong_shape",
                row=row,
                next_step=f"Send the columns {', '.join(names[:20])}, in this order.",
            )
        instances.append(
            {tensor.name: _cell(cell, tensor.dtype != "string") for tensor, cell in zip(inputs, line, strict=True)}
        )
    return _encode({"instances": instances})


def _nested(row: list[Any], tensor: Tensor) -> list[Any]:
    """The elements of a row as JSON has them for an input of several dimensions, the last one fastest."""
    inner = tensor.shape[2:]
    sizes = [size for size in tensor.shape[1:] if size is not None]
    if None in inner or (len(sizes) == len(inner) + 1 and len(row) != prod(sizes)):
        return row  # which the model refuses, with the shape that it takes
    for size in reversed([size for size in inner if size]):
        row = [row[start : start + size] for start in range(0, len(row), size)]
    return row


def _cell(cell: str, number: bool) -> Any:
    """A cell as JSON has it; what is no number stays text, and the model's own check says what is wrong with it."""
    if cell == "":
        return None
    if not number:
        return cell
    text = cell.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if len(text) > _LONGEST or _NUMBER.fullmatch(text) is None:  # Python takes more: 1_000, NaN, other digits
        return cell
    value = float(text)
    if not isfinite(value):
        return cell
    digits = text.lstrip("+-")
    if not digits.isdecimal():
        return value
    whole = int(digits.lstrip("0")[:_DIGITS] or "0")  # Python reads no integer of thousands
    whole = -whole if text.startswith("-") else whole
    return whole if whole in _INTEGERS else value


def as_csv(body: bytes) -> bytes:
    """A JSON answer's predictions as CSV: a line each, nested values one after the other."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for prediction in msgspec.json.decode(body)["predictions"]:
        writer.writerow(list(_cells(prediction)))
    return written.getvalue().encode()


def _cells(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _cells(one)
    else:
        yield value
