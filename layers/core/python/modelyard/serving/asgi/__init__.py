"""An endpoint with a web app of the model's own, ``model.app``, beside its standard routes.

::

    functions/app.py ─► start.py ─► endpoint.py ─► cycle.py      one request through the app, on loop.py
                                        ├─► finding.py           "package.module:attribute" as the app
                                        └─► lifespan.py          its startup and shutdown, once per process

What the app itself imports is in `modelyard.serving.app`. The rule: auth, audit, capture and rollout are those of every
endpoint and no affair of the app. FastAPI and Mangum cost start-up time, so nothing outside this folder imports them on
an endpoint, and here they are imported while S3 and the session work. This file imports nothing.
"""
