"""Modelyard: governed, versioned HTTPS endpoints for machine-learning models on AWS Lambda.

This folder is the library and, as it stands, the core Lambda layer. It imports nothing here that Python has not
imported by itself, because every function pays for what this file imports.

onnxruntime's wheels tell Microsoft about models and runs since 1.29, unless this variable says otherwise before the
library is initialised (``Privacy.md`` in the wheel): what an endpoint does is its owner's business. Whoever wants to
tell sets it to 0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
