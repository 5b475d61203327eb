"""From instances to predictions: one `Predictor`, whoever asks.

::

    instances ─ preprocess? ─ encode ─► engine ─► decode ─ postprocess? ─ predictions
                (own code)  (arrays.py) (standard.py) (arrays.py) (own code)

The endpoint, batch jobs and evaluation call the same `modelyard.predictor.predictor.Predictor`, so a model answers
alike everywhere. This file imports nothing: `signature.py` is read by code that has no onnxruntime.
"""
