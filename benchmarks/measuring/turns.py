"""Rounds: every server is asked in turn, each other round in reverse; ratios are taken within a round."""

import statistics
from collections.abc import Mapping, Sequence
from operator import attrgetter

from benchmarks.measuring import wrk
from benchmarks.measuring.server import Server
from benchmarks.measuring.wrk import Load, Measured

WARM_S = 1


def take_turns(
    servers: Mapping[str, tuple[Server, Load]], *, rounds: int, seconds: int, warm: bool = True
) -> dict[str, list[Measured]]:
    """What each server did in each round.

    Args:
        servers: By name, each with its load; they are stopped, and stopped again afterwards.
        rounds: How many.
        seconds: How long each is asked in a round.
        warm: Whether it is asked for a moment first, which does not count.

    Raises:
        SystemExit: A server answered with an error.
    """
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for number in range(rounds):
        for name in list(servers) if number % 2 else reversed(list(servers)):
            server, load = servers[name]
            server.resume()
            if warm:
                wrk.ask(server.url, load, seconds=WARM_S, name=server.name)
            found[name].append(wrk.ask(server.url, load, seconds=seconds, name=server.name))
            server.pause()
    return found


def median(measured: Sequence[Measured], field: str) -> float:
    """Of one number of all rounds."""
    return statistics.median(map(attrgetter(field), measured))


def ratio(measured: Sequence[Measured], base: Sequence[Measured], field: str) -> float:
    """Median of the ratios of each round."""
    value = attrgetter(field)
    return statistics.median(value(one) / value(other) for one, other in zip(measured, base, strict=True))
