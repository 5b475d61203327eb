"""``modelyard export``: a version as a folder that needs neither Modelyard nor AWS.

::

    version, bytes, card, example, own code ─ folder ─► files by path ─ writing ─► the folder, whole or not at all
                                  (code)

``predict.py`` is in every such folder as it is here. The rule: what is written was checked against the registry's
digest, what does not belong to the version is not written but said, and a folder that holds anything else stays as it
is. This package runs on the developer's machine only.
"""
