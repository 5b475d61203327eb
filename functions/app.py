"""The endpoint of one model that has a web app of its own: API Gateway event in, the app's answer out.

The app is served below ``/models/<name>/app``; every other route is answered as by ``predict.py``. App and model are
loaded while Lambda initialises the function; every invocation writes one audit line.
"""

import os

from modelyard.serving.asgi.start import start

ENDPOINT = start(os.environ)


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    """Lambda's entry point."""
    return ENDPOINT.handle(event, context)
