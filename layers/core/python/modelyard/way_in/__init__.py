"""The way in to a model on SageMaker: an HTTP API's event becomes InvokeEndpoint, and its answer an HTTP API response.

::

    settings ─► start ─► entrance: event ─► asked ─► aws/sagemaker_runtime ─► answered ─► response
                                                        │                  └─► refusals: SageMaker's own errors
                                                        └─► later: 202 now, the answer out of S3

The rule: the container does the work and writes the audit line. What is decided here is only what it cannot know: what
became of a request that never reached it. `asked`, `answered` and `refusals` are pure.
"""
