"""Callers that ask a server of `onnx_models.row_sum` without pause and hold each answer against what it must be."""

import contextlib
import http.client
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.measuring.server import descendants
from tests.fakes.raw_callers import sums

BETWEEN_TRIES_S = 0.05


def workers_of(process: int) -> list[int]:
    """Processes that answer, of a server that has several."""
    found = []
    for one in descendants(process)[1:]:
        with contextlib.suppress(OSError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        began: When, by `time.monotonic`.
        took: Seconds.
        status: Of the answer; None where none came.
        version: That answered.
        plus: What it adds to the sum of the numbers; None where the answer is not of this request.
        failure: What happened in place of an answer.
    """

    began: float
    took: float
    status: int | None
    version: int | None = None
    plus: float | None = None
    failure: BaseException | None = None

    @property
    def connected(self) -> bool:
        """Whether there was a server to ask."""
        return not isinstance(self.failure, ConnectionRefusedError)


class Callers:
    """Threads that ask while the ``with`` block runs, each over a connection of its own.

    Args:
        port: Of the server, on this machine.
        threads: How many.
        path: The route.

    Attributes:
        asked: Every request, in the order of their ends.
    """

    def __init__(self, port: int, *, threads: int = 4, path: str = "/models/sums/predict") -> None:
        self.asked: list[Asked] = []
        self._port, self._path = port, path
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(own,)) for own in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and wait for the last answers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wrong(self) -> list[Asked]:
        """What is no answer, or another request's."""
        return [one for one in self.asked if one.status != 200 or one.plus is None]

    def wait_for_version(self, version: int, within_s: float) -> float:
        """Wait until each thread has seen it, and a moment longer; when the first did, by `time.monotonic`."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            seen = [one.began + one.took for one in list(self.asked) if one.version == version]
            if len(seen) > 10 * len(self._threads):
                return min(seen)
            time.sleep(0.02)
        raise AssertionError(f"no answer of version {version}")

    def _ask_on(self, own: int) -> None:
        connection = self._connect()
        count = 0
        while not self._stopped.is_set():
            count += 1
            began = time.monotonic()
            try:
                connection.request("POST", self._path, sums((own, count)), {"content-type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.asked.append(Asked(began, time.monotonic() - began, None, failure=error))
                connection.close()
                connection = self._connect()
                if isinstance(error, ConnectionRefusedError):
                    time.sleep(BETWEEN_TRIES_S)
                continue
            took = time.monotonic() - began
            self.asked.append(Asked(began, took, response.status, **_told(response.status, content, own + count)))
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)


def _told(status: int, content: bytes, expected: int) -> dict[str, Any]:
    if status != 200:
        return {}
    answer = json.loads(content)
    (found,) = answer["predictions"]
    plus = found - expected
    return {"version": answer["version"], "plus": plus if plus in (0, answer["version"] * 100_000) else None}
