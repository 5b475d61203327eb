"""`PointerFollower`: keeps the live version loaded while requests are answered.

The rule: no answer comes from a version that was replaced longer than ``refresh_s`` ago, and no failed check takes a
good model away. A check is one conditional GET. After half of ``refresh_s`` a request starts one in the background and
does not wait; after the whole of it (no traffic, or Lambda froze the process) the request waits for it first. A new
version is loaded beside the old one and takes over by one assignment, so requests in flight end on what they began
with. A version that cannot be loaded is reported once and left alone until the pointer changes.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from modelyard.errors import AWSError, CredentialsError, ModelyardError, NotFoundError
from modelyard.pointer_key import pointer_key
from modelyard.serving.audit import write_event
from modelyard.serving.fetching import Fetch
from modelyard.serving.pointer import Deployed, Pointer

if TYPE_CHECKING:  # only while versions are on trial
    from modelyard.serving.trial import Challengers, Trial

PATIENCE_S = 5.0
"""Longest wait of a request for a check; after that the last good version answers, late being worse than old."""

USERS_S = 2.0
"""How long the requests that still have a replaced version are waited for."""

SPREAD_SHARE = 0.25
"""Of ``refresh_s``: how long a file of a new version may be on its way while requests come one after the other."""

BUSY_GAP_S = 1.0
"""Between requests. Where they are rarer a load is in nobody's way, and the next one might have to wait for it."""

AWAKE_SHARE = 0.3
"""Where a function is awake for this share of its time, a check beside the requests is done in good time."""


class ObjectSource(Protocol):
    """What the follower reads: `modelyard.aws.objects.Objects`, or a fake."""

    def get(self, key: str) -> tuple[bytes, str]:
        """Bytes and ETag of an object."""
        ...

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """The same, or ``None`` while the ETag holds."""
        ...

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, one piece after the other."""
        ...


class Answering(Protocol):
    """A loaded model: `modelyard.predictor.predictor.Predictor`, which is imported only while the first GET waits."""

    def answer(self, body: str | bytes, *, structs: bool = False) -> tuple[list[Any], list[dict[str, Any]]]:
        """One answer per instance, and what the contract warns of."""
        ...

    def prime(self) -> None:
        """Run once."""
        ...

    def bound(self, wrap: Any) -> None:
        """See `modelyard.predictor.predictor.Predictor.bound`."""
        ...


Load = Callable[[Deployed, Fetch], Answering]
Now = Callable[[], tuple[float, float]]


def both_clocks() -> tuple[float, float]:
    """The monotonic and the wall clock: a frozen process may find that only the second has moved on."""
    return time.monotonic(), time.time()


class Live:
    """The version that answers, and what is on trial beside it."""

    __slots__ = ("__weakref__", "contract", "digest", "predictor", "revision", "signature", "trial", "version")

    def __init__(self, revision: int, deployed: Deployed, predictor: Answering, trial: "Trial | None" = None) -> None:
        self.revision = revision
        self.trial = trial
        self.version = deployed.version
        self.digest = deployed.digest
        self.signature = deployed.signature
        self.contract = deployed.contract
        self.predictor = predictor


class PointerFollower:
    """Follows one model's pointer. Safe to ask from several threads at once.

    Args:
        objects: The artifact bucket.
        model: Name of the model.
        refresh_s: Longest time that a replaced version may still answer, in seconds.
        load: Makes a predictor of a version, with the files that it fetches.
        now: Both clocks, in seconds.
        patience_s: Longest wait of a request for a check.
    """

    def __init__(
        self,
        objects: ObjectSource,
        model: str,
        *,
        refresh_s: float,
        load: Load,
        now: Now = both_clocks,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._objects = objects
        self._model = model
        self._refresh_s = refresh_s
        self._load = load
        self._now = now
        self._patience_s = patience_s
        self._live: Live | None = None
        self._challengers: Challengers | None = None  # None until a version is on trial
        self._etag: str | None = None
        self._failure: Exception | None = None
        self._checked: tuple[float, float] | None = None  # when the last finished check began
        self._asked = (float("-inf"), float("-inf"))  # when the last request came
        self._gap_s = self._last_gap_s = float("inf")  # between requests: the smaller of the last two, and the last
        self._thread: threading.Thread | None = None
        self._given_up: threading.Thread | None = None
        self._lock = threading.Lock()  # held while a check is started, never while one runs

    @property
    def live(self) -> Live | None:
        """The version loaded now, without a check; for log lines."""
        return self._live

    def start(self) -> None:
        """Begin the first check and return at once, so that imports go on while S3 answers."""
        self._running_check()

    def wait(self, timeout_s: float) -> None:
        """Wait for a check that was started."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def current(self) -> Live:
        """The version that may answer now.

        Raises:
            ModelyardError: Status 503 while there is none: ``no_deployment`` where nothing was promoted yet,
                ``model_unavailable`` where it could not be loaded. The next call tries again.
        """
        now = self._now()
        gap_s = _between(self._asked, now)
        self._gap_s, self._last_gap_s, self._asked = min(gap_s, self._last_gap_s), gap_s, now
        age = self._age(now)
        if self._live is None or age > self._refresh_s:
            if gap_s > self._refresh_s and self._live is not None:
                self._give_up()
            self._check_and_wait()
        elif age > self._refresh_s / 2:
            self._running_check()
        live = self._live
        if live is None:
            raise self._unavailable()
        return live

    def check_now(self) -> None:
        """Check, and wait for it: for an environment that has just been restored from a snapshot."""
        self._checked = None
        self._check_and_wait()

    # -- a duty of `Afterwards`: on Lambda nothing runs between requests, so what is due runs after an answer ----------

    def due(self) -> bool:
        """Whether a check is due, or a version on trial is being loaded."""
        return self._age() > self._refresh_s / 2 or (self._challengers is not None and self._challengers.loading)

    def run(self) -> None:
        """Check, and wait for it, so that the environment is not frozen in the middle.

        Where one request follows the other, the next would have to wait as well, for a whole load where the version has
        changed. So there the check goes on beside them.
        """
        rare = _between(self._asked, self._now()) < AWAKE_SHARE * self._gap_s
        if self._age() > self._refresh_s / 2:
            check = self._running_check()
            if rare:
                check.join(self._patience_s)
        if rare and self._challengers is not None:
            self._challengers.wait(self._patience_s)

    def finish(self) -> None:
        """Nothing here must be saved."""

    def _age(self, now: tuple[float, float] | None = None) -> float:
        """Seconds since the last check began: what it saw cannot be older than that."""
        checked = self._checked
        return float("inf") if checked is None else _between(checked, now or self._now())

    def _give_up(self) -> None:
        """Let a check that is under way count no more: a freeze may have left its connection dead.

        One at a time: if it is not dead, it has a model half loaded.
        """
        with self._lock:
            if self._given_up is None or not self._given_up.is_alive():
                self._given_up, self._thread = self._thread, None

    def _check_and_wait(self) -> None:
        for _ in range(2):  # a check that a freeze interrupted began too early to count; then one more
            thread = self._running_check()
            thread.join(self._patience_s)
            if thread.is_alive():
                write_event("pointer_check_slow", level="warning", model=self._model, waited_s=self._patience_s)
                return
            if self._age() <= self._refresh_s:
                return

    def _running_check(self) -> threading.Thread:
        """The check that is under way, or a new one; there are never two."""
        with self._lock:
            thread = self._thread
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._check, name="pointer", daemon=True)
                self._thread = thread
                thread.start()
            return thread

    def _check(self) -> None:
        began = self._now()
        failure: Exception | None = None
        try:
            self._follow()
        except ModelyardError as error:
            failure = error
            self._report(error, code=error.code)
        except Exception as error:  # noqa: BLE001 - whatever fails here, the last good version goes on answering
            import traceback

            failure = error
            self._report(error, traceback=traceback.format_exception(error))
        with self._lock:
            if self._counts():
                self._failure, self._checked = failure, began

    def _counts(self) -> bool:
        """Whether this thread's check was not given up. Ask with the lock held."""
        return self._thread is threading.current_thread()

    def _remember(self, etag: str) -> None:
        with self._lock:
            if self._counts():
                self._etag = etag

    def _report(self, error: Exception, **fields: Any) -> None:
        live = self._live
        write_event(
            "pointer_check_failed",
            level="error",
            model=self._model,
            message=str(error),
            version=live.version if live else None,
            **fields,
        )

    def _follow(self) -> None:
        """One check.

        Raises:
            ModelyardError: When the pointer or the model cannot be read or believed; nothing has changed then.
        """
        key = pointer_key(self._model)
        try:
            found = self._objects.get_if_changed(key, self._etag) if self._etag else self._objects.get(key)
        except NotFoundError as error:
            raise NotFoundError(
                f"model {self._model!r} has no deployment: nothing was promoted yet",
                code="no_deployment",
                status=503,
                next_step=f"Promote a version: modelyard promote {self._model} <version>.",
            ) from error
        if found is None:
            if self._challengers is not None:
                self._challengers.load_missing()  # what could not be read may be there now
                if self._live is not None:
                    self._live.predictor.bound(None)  # should a request on trial have bound it while it was promoted
            return
        raw, etag = found
        try:
            self._apply(Pointer.parse(raw, model=self._model))
        except (AWSError, CredentialsError, NotFoundError):
            raise  # may pass: the same pointer is tried again
        except ModelyardError:
            if self._live is not None:
                self._remember(etag)  # will not pass: no use in fetching the same model at every check
            raise
        self._remember(etag)

    def _apply(self, pointer: Pointer) -> None:
        live, champion = self._live, pointer.champion
        if live is not None and pointer.revision < live.revision:
            write_event(
                "older_pointer_ignored",
                level="warning",
                model=self._model,
                revision=live.revision,
                found=pointer.revision,
            )
        elif live is not None and serves_as(live, champion):
            trial, wanted = self._trial_of(pointer)
            if self._put_live(Live(pointer.revision, champion, live.predictor, trial)):
                self._want(wanted, live.predictor)
        else:
            began = time.perf_counter()
            predictor = self._on_trial_until_now(champion)
            if predictor is None:
                fetch = Fetch(self._objects, self._model, in_haste=live is None, spread_s=self._spread_s(live))
                predictor = self._load(champion, fetch)
                if live is not None:
                    predictor.prime()  # or the first request would wait for what only a first run allocates
            trial, wanted = self._trial_of(pointer)
            if not self._put_live(Live(pointer.revision, champion, predictor, trial)):
                return
            self._want(wanted, predictor)
            write_event(
                "version_live",
                model=self._model,
                version=champion.version,
                digest=champion.digest,
                revision=pointer.revision,
                replaced=live.version if live else None,
                load_ms=round((time.perf_counter() - began) * 1000, 3),
            )
            if live is not None:
                free_elsewhere(live)

    def _trial_of(self, pointer: Pointer) -> "tuple[Trial | None, list[Deployed]]":
        """What is on trial, and what has to be loaded for it; nothing where that part of the pointer is damaged."""
        if pointer.trial is None:
            return None, []
        from modelyard.serving.trial import Challengers, parse_trial

        if self._challengers is None:
            self._challengers = Challengers(self._load_beside, self._model)
        try:
            return parse_trial(pointer.trial, self._challengers)
        except ModelyardError as error:
            write_event(
                "trial_not_read", level="error", model=self._model, revision=pointer.revision, message=error.message
            )
            return None, []

    def _load_beside(self, deployed: Deployed) -> Answering:
        spread_s = self._spread_s(self._live)
        return self._load(deployed, Fetch(self._objects, self._model, in_haste=False, beside=True, spread_s=spread_s))

    def _spread_s(self, live: Live | None) -> float:
        return SPREAD_SHARE * self._refresh_s if live is not None and self._last_gap_s < BUSY_GAP_S else 0.0

    def _want(self, deployed: list[Deployed], answering: Answering) -> None:
        if self._challengers is not None:
            self._challengers.want(deployed, keep=answering)

    def _on_trial_until_now(self, champion: Deployed) -> Answering | None:
        """The predictor of a new champion that has been on trial here: it need not be loaded again."""
        if self._challengers is None:
            return None
        for challenger in self._challengers.loaded:
            if challenger.version == champion.version and serves_as(challenger, champion):
                challenger.predictor.bound(None)
                return challenger.predictor
        return None

    def _put_live(self, found: Live) -> bool:
        """Let it answer, unless this check was given up: a later one knows better."""
        with self._lock:
            if self._counts():
                self._live = found
            return self._live is found

    def _unavailable(self) -> ModelyardError:
        failure = self._failure
        if isinstance(failure, NotFoundError) and failure.code == "no_deployment":
            return failure
        unavailable = ModelyardError(
            f"the live version of model {self._model!r} is not loaded",
            code="model_unavailable",
            status=503,
            next_step="Try again; the function's log says what is missing (event pointer_check_failed).",
        )
        unavailable.__cause__ = failure
        return unavailable


def serves_as(live: Live, champion: Deployed) -> bool:
    """Whether what is loaded answers as a version does: the same bytes, and held to the same promises."""
    return (live.digest, live.signature, live.contract) == (champion.digest, champion.signature, champion.contract)


def free_elsewhere(replaced: Live) -> None:
    """Have a thread free a replaced version, when the last request has left what it began with.

    Whoever lets go of a session last frees it, and 90 MB take 7 ms to give back: no request should be the one, nor wait
    for the lock that the standard engine frees it with.
    """
    from _weakref import ref  # the module around it is one import more, which requests would wait for

    predictor, in_use = [replaced.predictor], ref(replaced)

    def free() -> None:
        ends = time.monotonic() + USERS_S
        while in_use() is not None and time.monotonic() < ends:
            time.sleep(0.002)
        if standard := sys.modules.get("modelyard.predictor.standard"):
            standard.await_run()
        predictor.clear()

    threading.Thread(target=free, name="free", daemon=True).start()


def _between(earlier: tuple[float, float], later: tuple[float, float]) -> float:
    """Seconds, by the clock that has seen more of them: one that was frozen, or set back, has seen fewer."""
    return max(later[0] - earlier[0], later[1] - earlier[1])
