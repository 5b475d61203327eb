"""`Models`: which models a server has loaded, and which follows which pointer.

A server of one model loads it at the start and keeps it. One of several loads a model when it is first asked for, and
lets go of the one that was asked for longest ago when the memory of all is more than it may be.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from modelyard.aws.objects import Objects, open_bucket, open_folder
from modelyard.errors import NotFoundError
from modelyard.predictor.predictor import Predictor
from modelyard.server.endpoint import Probes, ServedEndpoint
from modelyard.server.settings import ServerSettings
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.audit import write_event
from modelyard.serving.fetching import Fetch
from modelyard.serving.follow import Live, PointerFollower
from modelyard.serving.loading import Loader
from modelyard.serving.memory import resident_mb
from modelyard.serving.pointer import Deployed
from modelyard.serving.settings import EndpointSettings
from modelyard.serving.start import assemble
from modelyard.serving.trial_settings import TrialSettings
from modelyard.serving.watchdog import Bounded, Watchdog

if TYPE_CHECKING:
    from modelyard.serving.endpoint import Endpoint

START_S = 60.0
"""Longest wait for a model when it is first asked for; a larger one is waited for by the next request as well."""

FLUSH_S = 10.0
"""Longest wait for what must not be lost when a model is let go of, or the server ends."""

CLOSE_S = 60.0
"""Longest wait for the requests of a model that is let go of."""

LEAST_MB = 1.0
"""What a model counts for at least."""


class _Follower(PointerFollower):
    """Never waits for S3 where a version is loaded: whoever asks is the event loop. A duty of `Afterwards` checks."""

    def current(self) -> Live:
        return self._live or super().current()

    @property
    def state(self) -> str:
        """What is to be said of the model, without looking at S3."""
        if self._live is not None:
            return "ready"
        return "empty" if self._unavailable().code == "no_deployment" else "failed"


class Served:
    """One model of the server, loaded or about to be.

    Attributes:
        endpoint: Answers.
        used: When it was last asked for, by `time.monotonic`.
        size_mb: What loading it has added to the process.
    """

    __slots__ = ("_afterwards", "_closed", "_follower", "endpoint", "size_mb", "used")

    def __init__(
        self, environ: Mapping[str, str], server: ServerSettings, loop: asyncio.AbstractEventLoop, threads: Executor
    ) -> None:
        settings = EndpointSettings.read(environ)
        timeout_s = TrialSettings.read(environ).timeout_s
        folder = environ.get("MODELYARD_ARTIFACT_FOLDER")
        objects: Objects = open_folder(folder) if folder else open_bucket(settings.artifact_bucket, environ)
        loader, probes = Loader(settings), Probes(server.max_batch)

        watchdog = Watchdog()

        def load(deployed: Deployed, fetch: Fetch) -> Predictor:
            predictor = loader(deployed, fetch)
            predictor.bound(lambda engine: Bounded(engine, watchdog, timeout_s))  # a run that never ends
            probes.look(predictor)
            predictor.bound(None)
            return predictor

        self._follower = _Follower(objects, settings.model, refresh_s=settings.refresh_s, load=load)
        self._afterwards = Afterwards(tick_s=min(1.0, settings.refresh_s / 4))

        def make(follower: PointerFollower, **others: Any) -> "Endpoint":
            return ServedEndpoint(
                follower,
                loop=loop,
                threads=threads,
                settings=server,
                probes=probes,
                timeout_s=timeout_s,
                **others,
            )

        made = assemble(settings, environ, objects, self._follower, self._afterwards, make=make)
        self.endpoint = cast("ServedEndpoint", made)
        self._afterwards.attend(self._follower)
        self._closed = False
        self.used = time.monotonic()
        self.size_mb = LEAST_MB

    def load(self) -> None:
        """Load the live version, if there is one."""
        before = resident_mb() or 0.0
        self._follower.start()
        self._follower.wait(START_S)
        self.size_mb = max(LEAST_MB, (resident_mb() or 0.0) - before)

    @property
    def state(self) -> str:
        """``ready``; ``empty`` while nothing was promoted; else ``failed``."""
        return self._follower.state

    def close(self) -> None:
        """Write what must not be lost, and let go of everything; the second time there is nothing to do."""
        if not self._closed:
            self._closed = True
            self._afterwards.close(FLUSH_S)


class Models:
    """The models of one worker. For one event loop.

    Args:
        settings: The server's.
        loop: The event loop.
        threads: For what takes long.
    """

    def __init__(self, settings: ServerSettings, loop: asyncio.AbstractEventLoop, threads: Executor) -> None:
        self._settings = settings
        self._loop = loop
        self._threads = threads
        self._environs = {environ["MODELYARD_MODEL"]: environ for environ in settings.models}
        self._served: dict[str, Served] = {}
        self._leaving: dict[Served, asyncio.Future[None]] = {}  # let go of, and not closed yet
        self._loading: dict[str, asyncio.Future[Served]] = {}
        self._lock = threading.Lock()  # one load at a time, so that each one's memory is its own

    @property
    def names(self) -> list[str]:
        """Of all models, loaded or not."""
        return list(self._environs)

    @property
    def only(self) -> str | None:
        """The name, where there is one model."""
        return self.names[0] if len(self._environs) == 1 else None

    @property
    def states(self) -> dict[str, str]:
        """What is to be said of each that is loaded."""
        return {name: served.state for name, served in self._served.items()}

    def loaded(self, name: str) -> ServedEndpoint | None:
        """The endpoint of a model, if it is there."""
        served = self._served.get(name)
        if served is None:
            return None
        served.used = time.monotonic()
        return served.endpoint

    def check(self, name: str | None) -> None:
        """See that the server has a model.

        Raises:
            NotFoundError: When it has none of the name, or several where none is named.
        """
        if name is None:
            raise NotFoundError(
                f"this server has {len(self._environs)} models, and the request names none",
                code="unknown_model",
                next_step="Ask POST /models/<model>/predict.",
            )
        if name not in self._environs:
            raise NotFoundError(
                f"this server has no model {name[:80]!r}; it has {', '.join(self.names)}",
                code="unknown_model",
                next_step="GET /v2 names the server; each model has routes below /models/<name>.",
            )

    async def endpoint(self, name: str) -> ServedEndpoint:
        """The endpoint of a model, loaded first if need be.

        Raises:
            NotFoundError: When the server has no such model.
        """
        found = self.loaded(name)
        if found is not None:
            return found
        self.check(name)
        if name not in self._loading:
            self._loading[name] = asyncio.ensure_future(self._load(name))
        return (await asyncio.shield(self._loading[name])).endpoint

    async def load_all(self) -> None:
        """Load the models that are loaded at the start: the only one, or none of several."""
        if self.only is not None:
            await self.endpoint(self.only)

    async def _load(self, name: str) -> Served:
        try:
            served = await self._loop.run_in_executor(None, self._make, name)
            self._served[name] = served
            self._let_go(keep=name)
            return served
        finally:
            del self._loading[name]

    def _make(self, name: str) -> Served:
        with self._lock:
            served = Served(self._environs[name], self._settings, self._loop, self._threads)
            served.load()
            return served

    def _let_go(self, *, keep: str) -> None:
        budget = self._settings.memory_mb
        if not budget or self.only is not None:
            return
        while sum(served.size_mb for served in self._served.values()) > budget and len(self._served) > 1:
            name = min((name for name in self._served if name != keep), key=lambda one: self._served[one].used)
            served = self._served.pop(name)
            write_event("model_let_go", model=name, size_mb=round(served.size_mb, 1), budget_mb=budget)
            self._leaving[served] = asyncio.ensure_future(self._close(served))

    async def _close(self, served: Served) -> None:
        """Let go of a model, after what it is being asked: that may have to be captured."""
        for _ in range(round(CLOSE_S / 0.1)):
            if not served.endpoint.under_way:
                break
            await asyncio.sleep(0.1)
        await self._loop.run_in_executor(None, served.close)
        del self._leaving[served]

    def close(self) -> None:
        """Let go of all, at the same time: each may wait for S3."""
        served = [*self._served.values(), *self._leaving]
        with ThreadPoolExecutor(max(1, len(served))) as threads:
            list(threads.map(Served.close, served))
        self._served.clear()
