"""Ask the model beside this file, with onnxruntime and numpy alone: ``python predict.py [FILE]``.

FILE is JSON, ``{"instances": [...]}`` or only the list; ``-`` is standard input, and the default is example.json. Each
instance is an object with a value for each input that manifest.json names. The answers are those of the endpoint.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would tell its makers about the model
import onnxruntime

HERE = Path(__file__).resolve().parent
PACKAGE: str | None = None  # the model's own code below python/, if it has some
KINDS: dict[str, set[type]] = {"string": {str}, "bool": {bool}}


def main() -> int:
    """Read instances, write predictions."""
    file = sys.argv[1] if len(sys.argv) > 1 else str(HERE / "example.json")
    try:
        answer = json.dumps({"predictions": predict(read(file))}, indent=2, allow_nan=False, default=plain)
    except Exception as error:  # noqa: BLE001 - whatever it is, one line says it
        sys.stderr.write(f"predict.py: {error}\n")
        return 1
    sys.stdout.write(f"{answer}\n")
    return 0


def read(file: str) -> list[Any]:
    """The instances in a file."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=refuse)
    instances = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(instances, list) or not instances:
        raise ValueError('give a list of instances, or {"instances": [...]}')
    return instances


def predict(instances: list[Any]) -> list[Any]:
    """One answer for each instance, in the same order."""
    signature = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))["manifest"]["signature"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"])
    own = own_code()
    before, after = getattr(own, "preprocess", None), getattr(own, "postprocess", None)
    feeds = before(instances) if before else encode(signature["inputs"], instances)
    names = [output["name"] for output in signature["outputs"]]
    arrays = session.run(names, feeds)
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"output {name!r} is not a finite number for every instance")
    if after:
        answers: list[Any] = after(dict(zip(names, arrays, strict=True)))
        return answers
    columns = [decode(output, array) for output, array in zip(signature["outputs"], arrays, strict=True)]
    if len(columns) == 1:
        return columns[0]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def own_code() -> Any:
    """The model's own package, from the folder beside this file."""
    if PACKAGE is None:
        return None
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(HERE / "python"))
    return importlib.import_module(PACKAGE)


def encode(inputs: list[dict[str, Any]], instances: list[Any]) -> dict[str, Any]:
    """One array for each input."""
    names = [tensor["name"] for tensor in inputs]
    if len(names) == 1:  # a single input may be given as its bare value
        instances = [instance if isinstance(instance, dict) else {names[0]: instance} for instance in instances]
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict) or instance.keys() != set(names):
            raise ValueError(f"instance {row} must be an object with exactly {', '.join(map(repr, names))}")
    return {tensor["name"]: column(tensor, [instance[tensor["name"]] for instance in instances]) for tensor in inputs}


def column(tensor: dict[str, Any], values: list[Any]) -> Any:
    """The values of one input as an array; nothing is converted silently."""
    dtype, shape = tensor["dtype"], tensor["shape"]
    floats, one_column = dtype.startswith("float"), len(shape) == 2 and shape[1] == 1
    if one_column:
        values = [value if isinstance(value, list) else [value] for value in values]
    allowed = KINDS.get(dtype, {int, float} if floats else {int})
    kinds = {type(leaf) for leaf in flat(values)}
    may_miss = floats and one_column and type(None) in kinds  # null is a missing number
    if may_miss:
        kinds.remove(type(None))
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=object if dtype == "string" else dtype) if kinds <= allowed else None
    if array is None or not fits(array.shape, shape):
        raise ValueError(f"input {tensor['name']!r} takes {dtype} of shape {['n', *shape[1:]]}")
    if array.dtype.kind == "f" and (np.isinf(array) if may_miss else ~np.isfinite(array)).any():
        raise ValueError(f"input {tensor['name']!r} has a number that {dtype} cannot hold")
    return array


def fits(found: tuple[int, ...], shape: list[int | None]) -> bool:
    """Whether an array has a shape; the batch and what is null may have any size."""
    return len(found) == len(shape) and all(
        size in (None, have) for size, have in zip(shape[1:], found[1:], strict=True)
    )


def flat(value: Any) -> Iterator[Any]:
    """Everything in lists in lists."""
    if isinstance(value, list):
        for part in value:
            yield from flat(part)
    else:
        yield value


def decode(output: dict[str, Any], array: Any) -> list[Any]:
    """One JSON value for each row of an output."""
    classes, shape = output["classes"], output["shape"]
    if classes is not None and array.shape[1:] == (len(classes),):
        return [dict(zip(classes, row, strict=True)) for row in array.tolist()]
    if len(shape) == 2 and shape[1] == 1 and array.ndim == 2:
        array = array[:, 0]
    values: list[Any] = array.tolist()
    return values


def plain(value: Any) -> Any:
    """What own code may answer that JSON does not know: numpy's numbers and arrays."""
    return value.tolist()


def refuse(constant: str) -> None:
    """NaN and Infinity are not JSON."""
    raise ValueError(f"{constant} is not JSON")


if __name__ == "__main__":
    sys.exit(main())
