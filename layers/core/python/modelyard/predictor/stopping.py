"""What ends a run: onnxruntime's own terminate flag, for a version on trial that may not take as long as it likes.

The flag is looked at between two nodes of the graph, in loops too. So a run ends after the node that it is in, and the
session is none the worse for it.
"""

from typing import Any

from modelyard.predictor.c_api import FATAL_ONLY, CApi


class LeanStop:
    """Of the lean engine: run options of its own. For one run after the other, until it has ended one.

    Attributes:
        options: For onnxruntime's ``Run``. What is ended is reported here and not in its log.
    """

    __slots__ = ("_api", "options")

    def __init__(self, api: CApi) -> None:
        self._api = api
        self.options: int = api.pointer(api.CreateRunOptions)
        api.check(api.RunOptionsSetRunLogSeverityLevel(self.options, FATAL_ONLY))

    def __del__(self) -> None:
        self._api.ReleaseRunOptions(self.options)

    def end(self) -> None:
        """End the run that has it, and every later one at its start."""
        self._api.check(self._api.RunOptionsSetTerminate(self.options))


class StandardStop:
    """Of the standard engine.

    Args:
        options: ``onnxruntime.RunOptions()``.
    """

    __slots__ = ("options",)

    def __init__(self, options: Any) -> None:
        self.options = options
        options.log_severity_level = FATAL_ONLY

    def end(self) -> None:
        """End the run that has it, and every later one at its start."""
        self.options.terminate = True
