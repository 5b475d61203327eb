"""The data contract of a version: what its inputs looked like when it was made, and what happens to other values.

::

    training table or sample ── infer ──► Contract ── stored on the version, quoted by the pointer
                                             │
              ┌──────────────────────────────┼─────────────────────────────┐
           breaks                          check                     the endpoint
     against the live version,      columns of a batch or an      every request, compiled
     before a version is visible    upload                        (``modelyard.predictor``)

The rule: a contract says what was seen, with room around it, and never what somebody hoped for; limits that a person
sets in ``model.toml`` stand above what was seen. ``document`` is the JSON form and ``rules`` what the spec says, both
without numpy, because the endpoint imports the first at every cold start; ``inference`` and ``checking`` work on numpy
arrays; ``breaking`` compares two and is pure.
"""
