"""Where an asynchronous prediction lies in the artifact bucket: what was asked, what became of it, the answer.

::

    async/<model>/in/<id>       the body that was sent
    async/<model>/jobs/<id>     where SageMaker said that it would write
    async/<model>/out/...       answers, named by SageMaker
    async/<model>/failed/...    what it has to say of those that failed

Apart, and without imports: stacks grant these keys and let them expire.
"""

FOLDER = "async/"
KEPT_DAYS = 7
"""After which all of it is deleted."""


def input_key(model: str, prediction_id: str) -> str:
    """What the container gets."""
    return f"{FOLDER}{model}/in/{prediction_id}"


def job_key(model: str, prediction_id: str) -> str:
    """What is known of the prediction."""
    return f"{FOLDER}{model}/jobs/{prediction_id}"


def output_prefix(model: str) -> str:
    """Below which SageMaker writes answers."""
    return f"{FOLDER}{model}/out/"


def failure_prefix(model: str) -> str:
    """Below which it writes what failed."""
    return f"{FOLDER}{model}/failed/"
