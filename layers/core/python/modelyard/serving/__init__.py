"""From a Lambda event to an answer; the endpoint's hot path.

::

    functions/predict.py ─► endpoint.py ─► request.py   the event's body as instances
                                       ─► follow.py    the live version, kept fresh (pointer.py)
                                       ─► problem.py   every error as application/problem+json
                                       ─► audit.py     one line per request

Its imports are counted: no boto3, FastAPI, pydantic, powertools or asyncio, and a test says so. This file imports
nothing.
"""
