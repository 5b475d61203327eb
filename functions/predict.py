"""The endpoint of one model: API Gateway event in, prediction out.

The model is loaded while Lambda initialises the function; every invocation writes one audit line.
"""

import os

from modelyard.serving.start import start

ENDPOINT = start(os.environ)


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    """Lambda's entry point."""
    return ENDPOINT.handle(event, context)
