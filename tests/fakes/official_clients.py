"""Clients that others wrote, against Modelyard's server: Triton's, and what MLServer gives its callers.

They do not go with our locks, so they have an environment of their own, the one that the benchmarks run MLServer in;
its interpreter runs this file again. Each answer is compared with what it must be. What a client asks that is not in
the protocol (Triton's repository, statistics and shared memory) is not here.

    .venv/bin/python -m tests.fakes.official_clients    installs them if they are not there, and lets them ask
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

CLIENTS = ("triton", "mlserver", "batch")
ENVIRONMENT, LOCK = "server-mlserver", Path("benchmarks/server/rivals/mlserver.txt")
DATATYPES = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "string": "BYTES"}
ROWS = [[1.0, 2.0], [3.0, 4.5]]
SUMS = [[3.0], [7.5]]
PATIENCE_S = 120


def run(client: str, interpreter: Path, port: int) -> str:
    """Let a client ask; what it says of itself.

    Raises:
        AssertionError: An answer was not what it must be.
    """
    command = [str(interpreter), __file__, client, f"127.0.0.1:{port}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.strip()


def main() -> None:
    """Install what is missing, start a server, let each client ask it."""
    from benchmarks.measuring.environments import interpreter
    from benchmarks.measuring.script import PROJECT

    found = interpreter(ENVIRONMENT, PROJECT / LOCK)
    with served() as stand:
        for client in CLIENTS:
            print(client, run(client, found, stand.port))  # noqa: T201 - a command


def served() -> Any:
    """A server of the models that the clients ask."""
    from tests.fakes import onnx_models
    from tests.fakes.served import ServedStand

    models = {
        "sums": onnx_models.row_sum(),
        "classes": onnx_models.classifier(),
        "dtypes": onnx_models.echo(*((f"x_{dtype}", dtype, [None, 2]) for dtype in onnx_models.ELEMENTS)),
    }
    return ServedStand(models, engine="standard")


# -- run by the clients' interpreter -----------------------------------------------------------------------------------


def triton(address: str) -> None:
    """All calls of Triton's client that the protocol has, with JSON and with bytes, at once and later."""
    import numpy as np
    import tritonclient.http as client

    asked = client.InferenceServerClient(address, concurrency=4)
    assert asked.is_server_live()
    metadata = asked.get_server_metadata()
    assert metadata["name"] == "modelyard"
    assert "binary_tensor_data" in metadata["extensions"]
    assert asked.is_model_ready("sums")
    assert asked.is_model_ready("sums", "3")
    assert not asked.is_model_ready("sums", "9")
    assert not asked.is_model_ready("nothing")
    assert asked.is_server_ready()
    _triton_dtypes(client, asked)
    for binary in (True, False):
        one = client.InferInput("x", [2, 2], "FP32")
        one.set_data_from_numpy(np.array(ROWS, dtype=np.float32), binary_data=binary)
        wanted = [client.InferRequestedOutput("y", binary_data=binary)]
        assert asked.infer("sums", [one], outputs=wanted).as_numpy("y").tolist() == SUMS
        assert asked.infer("sums", [one], model_version="3", request_id="7").get_response()["id"] == "7"
        later = [asked.async_infer("sums", [one], outputs=wanted) for _ in range(32)]
        assert all(request.get_result().as_numpy("y").tolist() == SUMS for request in later)
    scores = client.InferInput("logits", [1, 3], "FP32")
    scores.set_data_from_numpy(np.array([[1, 2, 3]], dtype=np.float32))
    best = asked.infer("classes", [scores], outputs=[client.InferRequestedOutput("probabilities", class_count=2)])
    assert [text.decode().split(":")[1:] for text in best.as_numpy("probabilities")[0]] == [["2", "snow"], ["1", "sun"]]
    for ask in (lambda: asked.infer("sums", [scores]), lambda: asked.async_infer("sums", [scores]).get_result()):
        try:
            ask()
        except client.InferenceServerException as refused:
            assert refused.status() == "400", refused.status()  # noqa: PT017 - no pytest in there
            assert refused.message() == "'logits' is no input; allowed are 'x'"  # noqa: PT017
        else:
            raise AssertionError("a request for another model was answered")
    asked.close()
    asyncio.run(_triton_asyncio(address))
    sys.stdout.write(f"tritonclient {version('tritonclient')}")


def _triton_dtypes(client: Any, asked: Any) -> None:
    import numpy as np

    metadata = asked.get_model_metadata("dtypes", "3")
    assert (metadata["name"], metadata["platform"]) == ("dtypes", "onnxruntime_onnx"), metadata
    for binary in (True, False):
        inputs, given = [], {}
        for tensor in metadata["inputs"]:
            name, dtype = tensor["name"], tensor["name"].removeprefix("x_")
            values = np.array([["a", "é" * 300]] * 2, dtype=object) if dtype == "string" else np.array([[0, 1], [1, 0]])
            given[name] = values if dtype == "string" else values.astype(dtype)
            one = client.InferInput(name, [2, 2], tensor["datatype"])
            one.set_data_from_numpy(given[name], binary_data=binary or dtype == "float16")
            inputs.append(one)
        outputs = [
            client.InferRequestedOutput(f"{name}_out", binary_data=binary or name == "x_float16") for name in given
        ]
        result = asked.infer("dtypes", inputs, outputs=outputs)
        for name, array in given.items():
            found = result.as_numpy(f"{name}_out")
            if name == "x_string":
                found = np.array([[one if isinstance(one, str) else one.decode() for one in row] for row in found])
            assert (found == array).all(), name


async def _triton_asyncio(address: str) -> None:
    import numpy as np
    import tritonclient.http.aio as client

    async with client.InferenceServerClient(address) as asked:
        assert await asked.is_server_live()
        assert await asked.is_server_ready()
        one = client.InferInput("x", [2, 2], "FP32")
        one.set_data_from_numpy(np.array(ROWS, dtype=np.float32))
        results = await asyncio.gather(*(asked.infer("sums", [one]) for _ in range(32)))
        assert all(result.as_numpy("y").tolist() == SUMS for result in results)


def mlserver(address: str) -> None:
    """MLServer's requests and responses, made and read by its codecs, over HTTP as its documentation does it."""
    import urllib.error
    import urllib.request

    import numpy as np
    from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec
    from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, MetadataServerResponse

    def send(path: str, request: Any = None) -> bytes:
        body = None if request is None else request.model_dump_json(exclude_none=True).encode()
        made = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(made, timeout=30) as answer:  # noqa: S310 - our own
            content: bytes = answer.read()
            return content

    assert MetadataServerResponse.model_validate_json(send("/v2")).name == "modelyard"
    assert MetadataModelResponse.model_validate_json(send("/v2/models/sums")).name == "sums"
    assert send("/v2/health/live")
    assert send("/v2/models/sums/ready")
    rows = np.array(ROWS, dtype=np.float32)
    for request in (
        InferenceRequest(inputs=[NumpyCodec.encode_input("x", rows)]),
        InferenceRequest(id="7", inputs=[NumpyCodec.encode_input("x", rows)]),
        InferenceRequest(
            parameters={"content_type": "np"}, inputs=[{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": ROWS}]
        ),
    ):
        answer = InferenceResponse.model_validate_json(send("/v2/models/sums/infer", request))
        assert answer.id == request.id or request.id is None
        assert NumpyRequestCodec.decode_response(answer).tolist() == SUMS
    answer = InferenceResponse.model_validate_json(
        send("/v2/models/classes/infer", InferenceRequest(
            inputs=[NumpyCodec.encode_input("logits", np.array([[1, 2, 3]], dtype=np.float32))]
        ))
    )  # fmt: skip
    assert {output.name for output in answer.outputs} == {"label", "probabilities"}
    texts = StringCodec.encode_input("x_string", ["a", "é"], use_bytes=False)
    try:
        send("/v2/models/dtypes/infer", InferenceRequest(inputs=[texts]))
    except urllib.error.HTTPError as refused:
        assert (refused.code, "error" in json.loads(refused.read())) == (400, True)  # noqa: PT017 - as above
    else:
        raise AssertionError("a request without most of its inputs was answered")
    sys.stdout.write(f"mlserver {version('mlserver')}")


def batch(address: str) -> None:
    """MLServer's own command for many requests at once."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.jsonl"), Path(folder, "answered.jsonl")
        tensors = [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [at, 1.0]} for at in range(200)]
        asked.write_text("".join(json.dumps({"id": str(at), "inputs": [one]}) + "\n" for at, one in enumerate(tensors)))
        program = Path(sys.executable).with_name("mlserver")
        options = ["-u", address, "-m", "sums", "-i", str(asked), "-o", str(answered), "--workers", "4"]
        subprocess.run([str(program), "infer", *options], check=True, capture_output=True)
        lines = [json.loads(line) for line in answered.read_text().splitlines()]
    found = {line["id"]: line["outputs"][0]["data"] for line in lines}
    assert found == {str(at): [at + 1.0] for at in range(200)}, list(found.items())[:5]
    sys.stdout.write(f"mlserver infer {version('mlserver')}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"triton": triton, "mlserver": mlserver, "batch": batch}[sys.argv[1]](sys.argv[2])
    else:
        main()
