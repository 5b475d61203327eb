"""`Finding`: one thing about where a model runs, with its arithmetic."""

from dataclasses import dataclass

from modelyard.spec_server import Target


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about where a model runs.

    Attributes:
        about: ``code``, ``memory``, ``disk``, ``body``, ``time``, ``latency``, ``concurrency`` or ``cost``.
        says: What is so and what to do, as the end of a sentence that begins with the model.
        lines: The arithmetic, a line for each step.
        move_to: Where the model should run instead; None: it can stay.
        warns: Whether somebody should do something.
    """

    about: str
    says: str
    lines: tuple[str, ...] = ()
    move_to: Target | None = None
    warns: bool = True
