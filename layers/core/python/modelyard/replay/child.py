"""The process that a version answers in: limits itself, loads it, answers one request after the other.

It runs as ``python -m modelyard.replay.child FD``, with a socket as file descriptor ``FD`` and without anybody's
credentials (`modelyard.confined`). A version is loaded by the endpoint's own loader and asked by its own `Shadow`, so
what it answers, what it fails at, its time and its memory are told as for a version on trial.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from modelyard.contract.document import parse as parse_contract
from modelyard.predictor.predictor import Engine, Predictor, Timed
from modelyard.replay.channel import BrokenChannelError, Channel
from modelyard.replay.subject import Answered, Failure, Loaded, Subject
from modelyard.serving.fetching import Fetch
from modelyard.serving.follow import Live
from modelyard.serving.kept import AskedText, Kept
from modelyard.serving.loading import Loader
from modelyard.serving.pointer import Deployed, File
from modelyard.serving.settings import EndpointSettings
from modelyard.serving.shadow import Pair, Shadow
from modelyard.serving.trial import SHADOW, Challengers, Trial
from modelyard.serving.trial_settings import TrialSettings
from modelyard.serving.watchdog import Bounded, Watchdog
from modelyard.trial import limit

if TYPE_CHECKING:
    from modelyard.serving.capture import Capture

VERSION = 1
"""What the version is called here; who asked knows better."""

MOST_CPU_S = 86_400
"""Ends a loop even if the parent was killed."""

MOST_WRITTEN = 64 << 20
"""Bytes in a file, such as what a model's own code prints."""

_OUTWARDS = frozenset(
    {
        "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
        "socket.sendmsg", "socket.sendto",
    }
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


class Answerer:
    """One loaded version, asked as a shadow is.

    Args:
        subject: The version.

    Raises:
        ModelyardError: When it does not load.
    """

    def __init__(self, subject: Subject) -> None:
        if subject.code_folder is not None:
            sys.path.insert(0, subject.code_folder)
        settings = EndpointSettings(subject.model, "", 1.0, subject.code, subject.memory_mb, subject.engine)
        file = File(subject.path, subject.digest, subject.size)
        deployed = Deployed(VERSION, file, subject.signature, subject.contract)
        predictor = Loader(settings)(deployed, Fetch(_Files(), subject.model, in_haste=True))
        predictor.prime()
        watchdog = Watchdog()

        def bounded(engine: Engine) -> Timed:
            return Bounded(engine, watchdog, subject.limit_s)

        predictor.bound(bounded)
        self.loaded = Loaded(nulls=_often_missing(subject, predictor), has_preprocess=predictor.has_preprocess)
        self._live = Live(0, deployed, predictor)
        self._trial = Trial(SHADOW, [], "", [VERSION], Challengers(lambda _: predictor, subject.model))
        budgets = TrialSettings(budget_ms=subject.budget_ms, budget_mb=subject.budget_mb)
        self._told: dict[str, Any] = {}
        # It keeps one record at a time: the one that is sent.
        self._shadow = Shadow(cast("Capture", self), budgets, model=subject.model, process=f"replay-{os.getpid()}")

    def keep(self, **record: Any) -> None:
        """Take what the shadow tells, in the place of a `Capture`."""
        self._told = record

    def answer(self, body: bytes) -> bytes:
        """What came of a request, as JSON."""
        kept = Kept()
        kept.asked = AskedText(body)
        self._shadow.offer(Pair(self._trial, self._live, kept, {}))
        self._shadow.run()
        problem = self._trial.challengers.next_untold()
        given_up = None if problem is None else Failure(problem.code, problem.message)
        told = Answered(self._told["shadow"], self._told["process"], given_up)
        try:
            return msgspec.json.encode(told)
        except (TypeError, ValueError, OverflowError) as error:  # as the endpoint says it of an answer
            told.shadow.update(
                predictions=None, code="wrong_output", message=f"the model's answer is not JSON: {error}"[:300]
            )
            return msgspec.json.encode(told)


def _often_missing(subject: Subject, predictor: Predictor) -> tuple[str, ...]:
    """Inputs that may be missing, and were so in the rows that the contract was made from.

    One that may be missing and never is, as floats without a sample, would get an answer that nobody has ever seen.
    """
    if subject.contract is None:
        return ()
    fields = parse_contract(subject.contract).fields
    allowed = [check.tensor.name for check in predictor.reader.checks if check is not None and check.takes_null]
    return tuple(name for name in allowed if fields[name].null_rate)


class _Files:
    """Files of this machine in the place of the bucket's; keys are paths. What comes is checked by its digest."""

    def get(self, key: str) -> tuple[bytes, str]:
        return Path(key).read_bytes(), ""

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        del etag
        return self.get(key)

    def pieces(self, key: str) -> Iterator[bytes]:
        yield self.get(key)[0]


def refuse_the_network(event: str, _: tuple[Any, ...]) -> None:
    """An audit hook: what asks for another machine fails."""
    if event in _OUTWARDS:
        raise PermissionError(f"{event}: a replay talks to nobody")


def _end_with_the_parent() -> None:
    """Linux ends this process when its parent does; elsewhere it notices at its next word."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(channel: Channel) -> None:
    """Answer until the other end closes."""
    subject = msgspec.json.decode(channel.receive(), type=Subject)
    limit(subject.address_mb << 20, MOST_CPU_S, largest_file=MOST_WRITTEN)
    try:
        answerer = Answerer(subject)
    except Exception as error:  # noqa: BLE001 - whatever a model does when it is loaded, the parent is told
        failed = Failure(str(getattr(error, "code", "not_loadable")), str(error)[:300] or type(error).__name__)
        channel.send(msgspec.json.encode(Loaded(failed=failed)))
        return
    channel.send(msgspec.json.encode(answerer.loaded))
    while True:
        channel.send(answerer.answer(channel.receive()))


def main(arguments: list[str]) -> None:
    """Serve on the socket that the parent left open."""
    _end_with_the_parent()
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    sys.addaudithook(refuse_the_network)
    with suppress(BrokenChannelError):
        serve(channel)
    os._exit(0)  # no teardown of what a model has left behind


if __name__ == "__main__":
    main(sys.argv[1:])
