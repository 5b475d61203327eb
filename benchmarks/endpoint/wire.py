"""What a batch costs by the form in which it comes and goes: JSON, the Open Inference Protocol, NPY, Arrow.

One model (gradient boosting of 100 trees on 30 numeric features, with its contract), one process, the same rows in
every form, and every form has to give the same probabilities. A call is an API Gateway event in and the response out,
so base64 is in the times: what is not JSON travels in it between API Gateway and the function. ``session.run`` gets an
array that is ready. Each round asks every form in turn, every other round in reverse, and counts with its median;
ratios are taken within a round. ``body`` is what the client sends, ``answer`` what it gets, both before base64.

What bytes save is size first. The numbers of large JSON requests are read by a library of our own
(`predictor/rows.py`), in a quarter of the time of a decoder, so the claim of time is that bytes take no more than JSON.

    python benchmarks/endpoint/wire.py [--quick] [--json]
"""

import base64
import contextlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.picture import Bar, bars  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.workload import MODEL, Workload, named_inputs, one_input  # noqa: E402
from modelyard.contract.document import to_json  # noqa: E402
from modelyard.contract.inference import infer  # noqa: E402
from modelyard.predictor.array import Array  # noqa: E402
from modelyard.predictor.arrays import from_numpy, to_numpy  # noqa: E402
from modelyard.predictor.signature import Tensor  # noqa: E402
from modelyard.serving.forms import arrow, arrow_writer  # noqa: E402
from modelyard.serving.request import ARROW, NPY  # noqa: E402
from modelyard.version import TensorSpec  # noqa: E402
from tests.fakes.endpoint import CONTEXT, Answer, EndpointStand, event  # noqa: E402
from tests.fakes.objects import pointer_to  # noqa: E402

ROUNDS, QUICK_ROUNDS = 15, 2
CALLS = {1: 200, 100: 40, 1000: 8}
ROWS = 1000
ALLOWED, ALLOWED_BYTES = 1.0, 0.5
"""Of JSON's time over ``session.run``, and of its bytes, at most, with 1,000 rows in and out as bytes."""

OCTETS = "application/octet-stream"
FORMS = {
    "json": "JSON, `instances`",
    "oip_json": "OIP, JSON",
    "oip_bytes": "OIP, bytes in and out",
    "npy": "NPY in, JSON out",
    "arrow": "Arrow in and out",
}
OUTPUTS = (Tensor("label", "int64", (None,)), Tensor("probabilities", "float32", (None, 2)))
SHOWN = {"array": "one input of 30", "named": "30 named fields"}
WORKLOADS = {"array": one_input, "named": named_inputs}


def requests(workload: Workload, rows: int) -> dict[str, dict[str, Any]]:
    """The event of each form."""
    arrays = workload.arrays(len(workload.rows))
    arrays = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in arrays.items()}
    path, infer_path = f"/models/{MODEL}/predict", f"/v2/models/{MODEL}/infer"
    values = {name: array.astype(float).round(6).tolist() for name, array in arrays.items()}
    instances = (
        values["x"]
        if not workload.names
        else [dict(zip(values, map(_only, row), strict=True)) for row in zip(*values.values(), strict=True)]
    )
    plain = {"content-type": "application/json"}
    made = {"json": event("POST", path, json.dumps({"instances": instances}), headers=plain)}
    inputs = [{"name": name, "shape": list(array.shape), "datatype": "FP32"} for name, array in arrays.items()]
    flat = [
        {**one, "data": array.astype(float).round(6).ravel().tolist()}
        for one, array in zip(inputs, arrays.values(), strict=True)
    ]
    made["oip_json"] = event("POST", infer_path, json.dumps({"inputs": flat}), headers=plain)
    sized = [
        {**one, "parameters": {"binary_data_size": array.nbytes}}
        for one, array in zip(inputs, arrays.values(), strict=True)
    ]
    text = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True}}).encode()
    made["oip_bytes"] = event(
        "POST",
        infer_path,
        b"".join((text, *(array.tobytes() for array in arrays.values()))),
        headers={"content-type": OCTETS, "inference-header-content-length": str(len(text))},
    )
    if not workload.names:
        file = io.BytesIO()
        np.save(file, arrays["x"])
        made["npy"] = event("POST", path, file.getvalue(), headers={"content-type": NPY})
    columns = [(name, _column(array)) for name, array in arrays.items()]
    made["arrow"] = event(
        "POST", path, arrow_writer.write_table(columns), headers={"content-type": ARROW, "accept": ARROW}
    )
    return made


def _only(value: list[float]) -> float:
    return value[0]


def _column(array: Any) -> Array:
    found = from_numpy(array)
    return Array(found.dtype, (len(array),), found.buffer) if array.shape[1:] == (1,) else found


def probabilities(form: str, answer: Answer) -> Any:
    """float32 [rows, 2], from whatever form."""
    assert answer.status == 200, answer.content[:500]  # noqa: S101
    if form in ("json", "npy"):
        return np.array([row["probabilities"] for row in answer.json["predictions"]], dtype=np.float32)
    if form == "oip_json":
        (found,) = [output for output in answer.json["outputs"] if output["name"] == "probabilities"]
        return np.array(found["data"], dtype=np.float32).reshape(found["shape"])
    if form == "oip_bytes":
        length = int(answer.headers["inference-header-content-length"])
        sizes = [output["parameters"]["binary_data_size"] for output in json.loads(answer.content[:length])["outputs"]]
        return np.frombuffer(answer.content[length + sizes[0] :], dtype=np.float32).reshape(-1, 2)
    (_, found) = arrow.read_table(answer.content, OUTPUTS, frozenset(), most_rows=ROWS)
    return to_numpy(found)


def measure(quick: bool) -> Result:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    figures: dict[str, float] = {}
    reports, claims, shown = [], [], []
    for workload_name, make in WORKLOADS.items():
        workload = make()
        for engine in ("lean", "standard"):
            for rows in CALLS:
                times, sizes = _measured(workload, engine, rows, rounds)
                reports.append(_report(workload_name, engine, rows, times, sizes, figures))
                if rows == ROWS and engine == "lean":
                    claims += _claims(workload_name, times, sizes)
                    shown += _bars(workload_name, times)
    pictures = {"wire.svg": bars(f"{ROWS:,} rows, lean engine: what comes on top of session.run", shown)}
    return Result("\n\n".join(reports), figures, claims, pictures)


def _measured(
    workload: Workload, engine: str, rows: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, tuple[int, int]]]:
    """Of each form the medians of its rounds in µs, and how large request and answer are."""
    stand = _stand(workload, engine)
    made = requests(workload, rows)
    predictor: Any = stand.endpoint._follower.current().predictor  # noqa: SLF001 - to run its engine alone
    feeds = [
        from_numpy(np.resize(array, (rows, *array.shape[1:]))) for array in workload.arrays(len(workload.rows)).values()
    ]
    calls: dict[str, Callable[[], Any]] = {"engine": lambda: predictor._engine.run(feeds)}  # noqa: SLF001
    calls |= {form: (lambda asked=asked: stand.endpoint.handle(asked, CONTEXT)) for form, asked in made.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    answers: dict[str, Answer] = {}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
        for form in made:
            answers[form] = Answer(calls[form]())
            for _ in range(CALLS[rows] // 4):
                calls[form]()
        for turn in range(rounds):
            for name in list(calls)[:: 1 if turn % 2 else -1]:
                times[name].append(_median(calls[name], CALLS[rows]))
    expected = probabilities("json", answers["json"])
    for form, answer in answers.items():
        np.testing.assert_array_equal(probabilities(form, answer), expected, err_msg=form)
    sizes = {form: (_bytes(asked), len(answers[form].content)) for form, asked in made.items()}
    return times, sizes


def _stand(workload: Workload, engine: str) -> EndpointStand:
    signature = pointer_to(MODEL, workload.onnx, version=1, revision=1)["champion"]["signature"]
    inputs = tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in signature["inputs"])
    contract = to_json(infer(workload.arrays(len(workload.rows)), inputs))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
        return EndpointStand(workload.onnx, name=MODEL, engine=engine, contract=contract)  # type: ignore[arg-type]


def _median(call: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times) / 1000


def _bytes(asked: dict[str, Any]) -> int:
    return len(base64.b64decode(asked["body"])) if asked["isBase64Encoded"] else len(asked["body"].encode())


def _over(times: dict[str, list[float]], form: str) -> float:
    """A form's time over ``session.run``, as a share of JSON's: the median of the rounds."""
    shares = [
        (own - engine) / (plain - engine)
        for own, plain, engine in zip(times[form], times["json"], times["engine"], strict=True)
    ]
    return statistics.median(shares)


def _bars(workload_name: str, times: dict[str, list[float]]) -> list[Bar]:
    on_top = {
        form: statistics.median(own - engine for own, engine in zip(found, times["engine"], strict=True))
        for form, found in times.items()
        if form != "engine"
    }
    return [
        Bar(
            f"{FORMS[form].replace('`', '')}; {SHOWN[workload_name]}",
            value,
            f"{value:,.0f} µs",
            ours="JSON" not in FORMS[form],
        )
        for form, value in sorted(on_top.items(), key=lambda pair: pair[1])
    ]


def _claims(workload_name: str, times: dict[str, list[float]], sizes: dict[str, tuple[int, int]]) -> list[Claim]:
    claims = []
    for form in ("oip_bytes", "arrow"):
        what = f"{FORMS[form]}%s, {SHOWN[workload_name]}, {ROWS:,} rows, of JSON's"
        size = sum(sizes[form]) / sum(sizes["json"])
        claims.append(Claim(what % " over session.run", round(_over(times, form), 3), ALLOWED))
        claims.append(Claim(what % ", bytes of both", round(size, 3), ALLOWED_BYTES))
    return claims


def _report(
    workload_name: str,
    engine: str,
    rows: int,
    times: dict[str, list[float]],
    sizes: dict[str, tuple[int, int]],
    figures: dict[str, float],
) -> str:
    lines: list[list[object]] = [["`session.run`", f"{statistics.median(times['engine']):,.0f}", "", "", "", ""]]
    for form, (asked, answered) in sizes.items():
        median, share = statistics.median(times[form]), _over(times, form)
        whole = statistics.median(own / plain for own, plain in zip(times[form], times["json"], strict=True))
        figures[f"{workload_name}_{engine}_{rows}_{form}_us"] = round(median, 1)
        figures[f"{workload_name}_{engine}_{rows}_{form}_over_engine_of_json"] = round(share, 3)
        figures[f"{workload_name}_{engine}_{rows}_{form}_body_bytes"] = asked
        lines.append([FORMS[form], f"{median:,.0f}", f"{whole:.2f} x", f"{share:.2f} x", f"{asked:,}", f"{answered:,}"])
    figures[f"{workload_name}_{engine}_{rows}_engine_us"] = round(statistics.median(times["engine"]), 1)
    title = f"{SHOWN[workload_name]}, {rows:,} rows, {engine} engine"
    return f"**{title}**\n\n" + table(["form", "µs", "of JSON", "over `session.run`, of JSON", "body", "answer"], lines)


if __name__ == "__main__":
    run("What a batch costs by the form in which it comes and goes.", measure)
