"""The OpenAPI document of one model's routes: its own request and answer, as the live version takes and gives them.

::

    document.py ─► schemas.py    what a value may be, from signature and contract
                ─► examples.py   requests that the contract allows, from what the training data looked like

Made when it is asked for; nothing of it is imported before.
"""
