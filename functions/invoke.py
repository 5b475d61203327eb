"""The way in to one model on SageMaker: API Gateway event in, the endpoint's answer out.

The connection to SageMaker is opened while Lambda initialises the function; the container writes the audit line, and
this function where the container did not answer.
"""

import os

from modelyard.way_in.start import start

WAY_IN = start(os.environ)


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    """Lambda's entry point."""
    return WAY_IN.handle(event, context)
