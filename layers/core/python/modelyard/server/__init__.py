"""A server for models that outgrow a function: the container of a SageMaker endpoint, or a process on any machine.

::

    run.py          worker processes ─► uvicorn, with connection.py's deadlines
       └ app.py     ASGI: a table of routes; invocations.py for SageMaker's; rest.py (FastAPI) for what is left
            └ endpoint.py   `modelyard.serving`'s endpoint, which lets others have the loop while an engine runs
                 └ batching.py   runs the batches of several requests as one, as costs.py has learnt that it pays
    models.py       which models are loaded, and which follows which pointer

Contract, answers, trials, capture and audit lines are those of every other endpoint: it is the same code.
"""
