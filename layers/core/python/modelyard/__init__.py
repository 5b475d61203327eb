"""Modelyard: governed, versioned HTTPS endpoints for machine-learning models on AWS Lambda.

This folder is the library and, as it stands, the core Lambda layer. It imports nothing here, because every
function pays for what this file imports.
"""

__version__ = "0.1.0"
