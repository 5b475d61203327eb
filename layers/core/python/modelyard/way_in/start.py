"""The order in which the way in starts: the connection is opened while the rest is imported."""

from __future__ import annotations

import gc

from modelyard.way_in.settings import ASYNC, WayInSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelyard.way_in.entrance import WayIn


def start(environ: Mapping[str, str]) -> WayIn:
    """The way in that a function's environment describes.

    Raises:
        UsageError: When the environment is incomplete.
    """
    settings = WayInSettings.read(environ)
    gc.disable()  # what is imported stays, so looking for garbage in it finds none
    from modelyard.aws.sagemaker_runtime import open_runtime

    runtime = open_runtime(environ)
    runtime.connect_soon()
    from modelyard.way_in.entrance import WayIn

    later = None
    if settings.target == ASYNC:
        from modelyard.aws.objects import open_bucket
        from modelyard.way_in.later import Later

        later = Later(open_bucket(settings.bucket, environ), settings, runtime)
    gc.freeze()  # and no request pays for looking through it
    gc.enable()
    return WayIn(settings, runtime, later)
