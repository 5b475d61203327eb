"""Starts the server: worker processes under uvicorn, until somebody asks them to end.

SIGTERM and SIGINT drain: no new connection is taken, what was asked is answered, what was captured is written. A worker
that dies is replaced by another one; those beside it go on. Workers end when the process that watches them does.
"""

import _thread
import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from modelyard.server.settings import ServerSettings, processors
from modelyard.serving.audit import write_event

DRAIN_S = 20
"""Longest wait for requests under way; SageMaker kills 30 s after it has asked."""

END_S = 28.0
"""Longest time from being told to end to the end, whatever is stuck."""

KEEP_ALIVE_S = 75
"""How long a connection may be idle: longer than whoever keeps them on the other side, so that it closes first."""

BACKLOG = 4096
METRICS = "MODELYARD_METRICS_FOLDER"


def make_app() -> "object":
    """The application, in a worker process."""
    from modelyard.server.app import ServerApp
    from modelyard.server.lines import Lines

    sys.stdout = Lines(sys.stdout.fileno())
    _end_in_time()
    _end_with_parent()
    return ServerApp(ServerSettings.read(os.environ), Path(os.environ[METRICS]))


def run() -> None:
    """Serve until told to end.

    Raises:
        UsageError: When the environment is wrong.
    """
    shared = os.environ.get("MODELYARD_THREADS", "0") == "0"
    if shared:
        os.environ["MODELYARD_THREADS"] = "1"
    settings = ServerSettings.read(os.environ)
    _allow_connections()
    if shared:  # the workers share the processors
        os.environ["MODELYARD_THREADS"] = str(max(1, processors() // settings.workers))
    with tempfile.TemporaryDirectory(prefix="modelyard-metrics-") as folder:
        os.environ[METRICS] = folder
        write_event("server_starting", host=settings.host, port=settings.port, workers=settings.workers)
        config = uvicorn.Config(
            "modelyard.server.run:make_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            loop="uvloop",
            http="modelyard.server.connection:Connection",
            ws="none",
            lifespan="on",
            access_log=False,
            proxy_headers=False,
            log_level="warning",
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        # Before uvicorn listens to it, and when it has done what it asks for and raises it again.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if not (_serve(config) if settings.workers == 1 else _watch(config)):
            sys.exit(STARTUP_FAILURE)


def _serve(config: uvicorn.Config) -> bool:
    """Serve from this process; whether it has started."""
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return server.started


def _watch(config: uvicorn.Config) -> bool:
    """Have workers serve; whether they have started."""
    workers = _Workers(config, sockets=[config.bind_socket()])
    workers.run()
    return all(worker.exitcode != STARTUP_FAILURE for worker in workers.processes)


class _Workers(Multiprocess):
    def terminate_all(self) -> None:
        """End all; whoever connects now is refused, where else it would wait in a queue that nobody looks at."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def _end_in_time() -> None:
    """End this process some time after it is told to, even if its event loop or its last work is stuck."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def end(number: int, frame: FrameType | None, before: object = before) -> None:
            _thread.start_new_thread(_give_up, ())
            if callable(before):
                before(number, frame)

        signal.signal(number, end)


def _give_up() -> None:
    time.sleep(END_S)
    os._exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, name="parent", daemon=True).start()


def _allow_connections() -> None:
    """A connection is a file; take as many as there may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
