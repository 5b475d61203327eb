"""``modelyard replay``: captured requests answered again by two versions, here, and the verdict on them.

::

    period ─► sources ─► captured ──► asking ──► records as of a shadow ─► judging ─► the document
    (period)  (bucket,   (records,    champion ─ process ═ child              (verdict)
               folder)    labels)     candidate ─ process ═ child

The rule: what a model does here reaches nobody. Each version answers in a child process with limits on memory and time,
without credentials and without a network, by the code of the endpoint's own shadow. Nothing is written anywhere but
where the caller asks for it. This package runs on the developer's machine only.
"""
