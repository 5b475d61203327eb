"""Who is measured: our server and the others, how each is started, where it is asked, and how its answer is read.

Every other server gets the session and the thread count that ours has, no access log, and of what its documentation
offers the form that was the faster one here: BentoML's method is ``async``, LitServe has its default queue, MLServer
runs the model in its own process (``parallel_workers`` 0). Ours checks the contract and writes its audit lines.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.measuring.bucket import Bucket
from benchmarks.measuring.environments import installed, interpreter
from benchmarks.measuring.server import Server, free_port
from benchmarks.measuring.workload import Workload

HERE = Path(__file__).parent
RIVALS = HERE / "rivals"
SCORING = HERE.parent / "endpoint" / "rivals"

Reader = Callable[[Any], tuple[Any, Any]]
"""From an answer's JSON to labels [rows] and probabilities [rows, classes]."""


def _by_row(answer: Any) -> tuple[Any, Any]:
    rows = answer["predictions"]
    return [row["label"] for row in rows], [row["probabilities"] for row in rows]


def _by_column(answer: Any) -> tuple[Any, Any]:
    return answer["label"], answer["probabilities"]


def _by_tensor(answer: Any) -> tuple[Any, Any]:
    found = {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}
    return np.ravel(found["label"]), found["probabilities"]


@dataclass(frozen=True)
class Contestant:
    """A server that can be started.

    Attributes:
        title: In tables.
        read: Its form of an answer.
        path: Where it is asked.
        protocol: Whether it is asked by the Open Inference Protocol.
        lock: Of its environment, below ``rivals/``; ours has none.
        command: Its arguments by its port and its folder.
        variables: What it needs beside the model's file.
        piped: Whether its standard output goes through a pipe to a process that reads it.
    """

    title: str
    read: Reader
    path: str = "/predict"
    protocol: bool = False
    lock: str = ""
    command: Callable[[int, Path], list[str]] = lambda port, folder: []  # noqa: ARG005
    variables: tuple[tuple[str, str], ...] = ()
    piped: bool = False

    @property
    def ours(self) -> bool:
        """Whether this is what the others are compared with."""
        return not self.lock

    @property
    def installed(self) -> bool:
        """Whether it can be started without installing anything."""
        return self.ours or installed(self._environment, self._lock)

    def server(
        self, workload: Workload, variables: dict[str, str], *, folder: Path, on: set[int], reader_on: set[int]
    ) -> Server:
        """The server, not started yet.

        Args:
            workload: The model.
            variables: Of a function beside the bucket, from `Workload.serve`; our own server reads these.
            folder: Where it may write.
            on: Its processor.
            reader_on: The processor of who reads its output, where that is a pipe.
        """
        port = free_port()
        folder.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ORT_DISABLE_TELEMETRY": "1",  # nothing measured here calls anybody outside
        }
        if self.ours:
            command = [sys.executable, "-m", "modelyard.server"]
            environment |= variables | {"MODELYARD_SERVER_PORT": str(port), "MODELYARD_SERVER_WORKERS": "1"}
        else:
            (folder / "model.onnx").write_bytes(workload.onnx)
            command = [str(interpreter(self._environment, self._lock)), *self.command(port, folder)]
            environment |= {"MODEL_FILE": str(folder / "model.onnx"), "PYTHONPATH": f"{RIVALS}:{SCORING}"}
        return Server(
            self.title,
            command,
            environment | dict(self.variables),
            url=f"http://127.0.0.1:{port}{self.path.format(workload.model)}",
            folder=folder,
            on=on,
            out=None if self.piped else Path(os.devnull),
            reader_on=reader_on,
        )

    def body(self, workload: Workload, rows: int) -> bytes:
        """The request for so many rows."""
        if not self.protocol:
            return str(workload.event(rows)["body"]).encode()
        array = workload.rows[:rows].astype(float).round(6)
        tensor = {"name": "x", "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
        return json.dumps({"inputs": [tensor]}).encode()

    def check(self, answer: bytes, expected: Sequence[Any]) -> None:
        """Hold an answer against labels and probabilities of the model itself.

        Raises:
            SystemExit: It is another.
        """
        found = self.read(json.loads(answer))
        if not (np.array_equal(found[0], expected[0]) and np.allclose(found[1], expected[1], rtol=0, atol=1e-6)):
            raise SystemExit(f"{self.title} answers something else than the model: {answer[:2000]!r}")

    @property
    def _environment(self) -> str:
        return f"server-{self.lock}"

    @property
    def _lock(self) -> Path:
        return RIVALS / f"{self.lock}.txt"


@contextlib.contextmanager
def started(
    chosen: Mapping[str, Contestant], workload: Workload, *, batches: Iterable[int], on: set[int], reader_on: set[int]
) -> Iterator[dict[str, Server]]:
    """Servers that answer right, and are stopped until it is their turn.

    Args:
        chosen: Which; they start beside each other.
        workload: The model.
        batches: Rows of the requests that are held against the model's own answers.
        on: The processor of the servers.
        reader_on: The processor of who reads their output, where that is a pipe.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = workload.serve(stack.enter_context(Bucket()))
        servers = {}
        for name, one in chosen.items():
            server = one.server(workload, variables, folder=folder / name, on=on, reader_on=reader_on)
            servers[name] = stack.enter_context(server)
        for name, server in servers.items():
            for rows in batches:
                chosen[name].check(server.answer(chosen[name].body(workload, rows)), workload.answers(rows))
        for server in servers.values():
            server.pause()
        yield servers


def _uvicorn(app: str) -> Callable[[int, Path], list[str]]:
    loop = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return lambda port, folder: ["-m", "uvicorn", f"{app}:app", "--port", str(port), *loop]  # noqa: ARG005


def _bentoml(port: int, folder: Path) -> list[str]:  # noqa: ARG001 - as the others
    place = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(RIVALS)]
    return ["-m", "bentoml", "serve", "bentoml_service:Tumours", *place]


def _mlserver(port: int, folder: Path) -> list[str]:
    model = {"name": "tumours", "implementation": "mlserver_runtime.Runtime"}
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    server = {"host": "127.0.0.1", "debug": False, "parallel_workers": 0, **ports}
    for name, content in (("model-settings", model), ("settings", server)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ["-m", "mlserver.cli.main", "start", "."]


PREDICT, PROTOCOL = "/models/{}/predict", "/v2/models/{}/infer"


def ours(
    title: str, engine: str, variables: Mapping[str, str] = MappingProxyType({}), *, piped: bool = False
) -> Contestant:
    """Our server with its predict route.

    Args:
        title: In tables.
        engine: ``lean`` or ``standard``.
        variables: More of its settings.
        piped: As `Contestant`.
    """
    return Contestant(
        title, _by_row, PREDICT, variables=(("MODELYARD_ENGINE", engine), *variables.items()), piped=piped
    )


FLOOR = "floor"
LEAN = ours("Modelyard, lean engine", "lean")
CONTESTANTS = {
    FLOOR: Contestant("the floor: ASGI and orjson", _by_column, lock="asgi", command=_uvicorn("floor")),
    "lean": LEAN,
    "standard": ours("Modelyard, standard engine", "standard"),
    "lean_pipe": ours("lean, audit lines to a pipe", "lean", piped=True),
    "lean_protocol": replace(
        LEAN, title="lean, Open Inference Protocol", read=_by_tensor, path=PROTOCOL, protocol=True
    ),
    "fastapi_async": Contestant("FastAPI, async def", _by_row, lock="asgi", command=_uvicorn("fastapi_async")),
    "fastapi_def": Contestant("FastAPI, def", _by_row, lock="asgi", command=_uvicorn("fastapi_def")),
    "bentoml": Contestant(
        "BentoML", _by_column, lock="bentoml", command=_bentoml, variables=(("BENTOML_DO_NOT_TRACK", "True"),)
    ),
    "litserve": Contestant(
        "LitServe",
        _by_row,
        lock="litserve",
        command=lambda port, folder: [str(RIVALS / "litserve_server.py"), str(port)],  # noqa: ARG005
    ),
    "mlserver": Contestant("MLServer", _by_tensor, PROTOCOL, protocol=True, lock="mlserver", command=_mlserver),
}
