"""Versions on trial, as the pointer names them and as this process has them: `Trial` and `Challengers`.

The rule: a challenger is loaded beside the champion, never in its place, and by a thread of its own: neither a request
nor a new champion waits for it. One that cannot be loaded is reported once and left alone until the pointer changes;
the champion answers in its place. When a trial ends its versions are let go of, and their memory with them.

Nothing here is imported while no version is on trial.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from modelyard.errors import AWSError, CredentialsError, ModelyardError, NotFoundError
from modelyard.serving.audit import write_event
from modelyard.serving.follow import Answering, Live, free_elsewhere, serves_as
from modelyard.serving.pointer import Deployed
from modelyard.traffic import POINTS, point_of, version_at

SHADOW, CANARY = "shadow", "canary"
NOT_LOADED = "not_loaded"


class Problem:
    """Why a version on trial does not answer here."""

    __slots__ = ("code", "message", "version")

    def __init__(self, version: int, code: str, message: str) -> None:
        self.version = version
        self.code = code
        self.message = message


class Trial:
    """What the pointer says of versions on trial.

    Attributes:
        mode: ``shadow`` or ``canary``.
        challengers: The versions on trial, as far as they are loaded.
        versions: Those that are on trial, loaded or not.
    """

    __slots__ = ("_answering", "_salt", "_untils", "challengers", "mode", "versions")

    def __init__(
        self, mode: str, slots: list[tuple[int, int]], salt: str, versions: list[int], challengers: "Challengers"
    ) -> None:
        self.mode = mode
        self.versions = versions
        self.challengers = challengers
        self._untils = [until for until, _ in slots]
        self._answering = [version for _, version in slots]
        self._salt = salt

    def version_for(self, key: str) -> int:
        """The version that answers a request with this key, in mode ``canary``."""
        return version_at(self._untils, self._answering, point_of(key, self._salt))


def parse_trial(document: dict[str, Any], challengers: "Challengers") -> tuple[Trial, list[Deployed]]:
    """What a pointer's document says of a trial: the trial, and the versions that are to be loaded for it.

    Raises:
        ModelyardError: With code ``invalid_pointer``.
    """
    mode = document.get("mode")
    if mode not in (SHADOW, CANARY):
        raise _invalid(f"has mode {ascii(mode)[:40]}; this reader knows {SHADOW} and {CANARY}")
    sections = [document.get("challenger"), *(document.get("others") or ())]
    if not all(type(section) is dict for section in sections):
        raise _invalid("has a challenger that is no object")
    deployed = [Deployed.parse(section) for section in sections if section is not None]
    versions = [one.version for one in deployed]
    slots = _slots(document, versions) if mode == CANARY else []
    return Trial(mode, slots, str(document.get("salt") or ""), versions, challengers), deployed


def _slots(document: dict[str, Any], versions: list[int]) -> list[tuple[int, int]]:
    try:
        slots = [(slot["until"], slot["version"]) for slot in document["slots"]]
        known = {document["champion"]["version"], *versions}
        untils = [until for until, _ in slots]
        right = untils == sorted(set(untils)) and untils[0] > 0 and untils[-1] == POINTS
    except (KeyError, TypeError, IndexError) as error:
        raise _invalid(f"has no slots that can be read: {ascii(error)[:80]}") from None
    if not right or not all(version in known for _, version in slots):
        raise _invalid(f"has slots that do not share out {POINTS} points among its versions: {ascii(slots)[:80]}")
    return slots


def _invalid(problem: str) -> ModelyardError:
    return ModelyardError(f"the pointer {problem}", code="invalid_pointer")


class Challengers:
    """Keeps the versions on trial loaded. Safe to use from several threads at once.

    Args:
        load: Makes a predictor of a version.
        model: Name of the model, for log lines.
    """

    __slots__ = ("_load", "_loaded", "_lock", "_model", "_problems", "_thread", "_untold", "_wanted")

    def __init__(self, load: Callable[[Deployed], Answering], model: str) -> None:
        self._load = load
        self._model = model
        self._lock = threading.Lock()  # never held while a version is loaded
        self._wanted: tuple[Deployed, ...] = ()
        self._loaded: dict[int, Live] = {}
        self._problems: dict[int, Problem] = {}
        self._untold: list[Problem] = []
        self._thread: threading.Thread | None = None

    def get(self, version: int) -> Live | None:
        """A version on trial, if it is loaded."""
        return self._loaded.get(version)

    @property
    def loaded(self) -> list[Live]:
        """Those that are loaded."""
        return list(self._loaded.values())

    @property
    def loading(self) -> bool:
        """Whether a version is being loaded."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def problem(self, version: int) -> Problem | None:
        """Why a version does not answer here, if it never will."""
        return self._problems.get(version)

    def next_untold(self) -> Problem | None:
        """A problem that no captured record has told yet; each is given out once."""
        try:
            return self._untold.pop(0)
        except IndexError:
            return None

    def want(self, deployed: Iterable[Deployed], *, keep: Answering | None = None) -> None:
        """Have these versions loaded and no others, from now on.

        Args:
            deployed: The versions.
            keep: A predictor that goes on answering though it is no challenger any more.
        """
        with self._lock:
            self._wanted = tuple(deployed)
            gone = [
                live
                for version, live in self._loaded.items()
                if not any(one.version == version and serves_as(live, one) for one in self._wanted)
            ]
            for live in gone:
                del self._loaded[live.version]
            self._problems = {}  # a pointer that has changed is tried again
            self._untold = []
        for live in gone:
            if live.predictor is not keep:
                free_elsewhere(live)
        self.load_missing()

    def load_missing(self) -> None:
        """Load what is wanted and not there; returns at once."""
        with self._lock:
            if self._next() is None or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._work, name="challengers", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for a load that is under way."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def drop(self, version: int, code: str, message: str) -> None:
        """Let go of a version that has cost too much here; until the pointer changes."""
        with self._lock:
            live = self._loaded.pop(version, None)
            problem = self._problems[version] = Problem(version, code, message)
            self._untold.append(problem)
        if live is not None:
            free_elsewhere(live)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _next(self) -> Deployed | None:
        return next(
            (one for one in self._wanted if one.version not in self._loaded and one.version not in self._problems), None
        )

    def _work(self) -> None:
        from modelyard.serving import on_trial  # noqa: F401 - so that no request pays for the import

        while True:
            with self._lock:
                deployed = self._next()
                if deployed is None:
                    self._thread = None  # whoever wants another one from now on starts a thread
                    return
            try:
                began = time.perf_counter()
                predictor = self._load(deployed)
            except Exception as error:  # noqa: BLE001 - whatever fails here, the champion answers
                if self._failed(deployed, error):
                    return
                continue
            with self._lock:
                wanted = deployed in self._wanted
                if wanted:
                    self._loaded[deployed.version] = Live(0, deployed, predictor)
            if wanted:
                write_event(
                    "challenger_loaded",
                    model=self._model,
                    version=deployed.version,
                    digest=deployed.digest,
                    load_ms=round((time.perf_counter() - began) * 1000, 3),
                )
            del predictor

    def _failed(self, deployed: Deployed, error: Exception) -> bool:
        """Report it; whether it may pass, so that the next check of the pointer tries again."""
        may_pass = isinstance(error, AWSError | CredentialsError | NotFoundError)
        message = str(error)[:300]
        write_event(
            "challenger_not_loaded",
            level="warning" if may_pass else "error",
            model=self._model,
            version=deployed.version,
            code=getattr(error, "code", "internal"),
            message=message,
            tried_again=may_pass,
        )
        with self._lock:
            if may_pass:
                self._thread = None
            elif deployed in self._wanted:
                problem = self._problems[deployed.version] = Problem(deployed.version, NOT_LOADED, message)
                self._untold.append(problem)
        return may_pass
