"""The endpoint of one model: API Gateway event in, prediction out.

The model is loaded while Lambda initialises the function; every invocation writes one audit line.
"""

import os
from typing import Any

from modelyard.serving.endpoint import Endpoint

ENDPOINT = Endpoint.from_environment(os.environ)
ENDPOINT.start()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return ENDPOINT.handle(event, context)
