"""Where a training runs: in the Lambda function, or on SageMaker where data or time do not fit; and why, in words.

Pure: the same question is answered when the app is synthesized, without data, and when a run has them.
"""

from typing import Literal

import msgspec

from modelyard.training.plan import LONGEST_FUNCTION_S, Plan

CHECKING, TRAINING = 24, 40
"""Bytes of memory per byte of CSV, at the least: measured with six columns and rows of 33 bytes."""

Where = Literal["lambda", "sagemaker"]


class Place(msgspec.Struct, frozen=True):
    """Where a training runs, and why; ``where`` is None where it cannot run at all."""

    where: Where | None
    why: str


def place(plan: Plan, size: int | None = None, *, has_sagemaker: bool = True) -> Place:
    """Where a training of ``size`` bytes of CSV runs; None where the data are not known yet.

    The memory that a training takes is estimated from the bytes (`TRAINING`). Time cannot
    be estimated: the search keeps to its budget, and the deadline is what the spec says.

    Args:
        plan: What the spec says.
        size: Bytes of the rows to learn from.
        has_sagemaker: False in the local AWS.
    """
    training = plan.training
    if not has_sagemaker and training.instance is not None:
        return Place(
            "lambda", "in a function of the local AWS, which has no SageMaker: the same trainer, the same files"
        )
    if training.where == "sagemaker":
        return Place("sagemaker", f"on SageMaker ({training.instance}), as training.where says")
    reasons = []
    if training.timeout_s > LONGEST_FUNCTION_S:
        reasons.append(f"its deadline of {training.timeout_s:,} s is above Lambda's {LONGEST_FUNCTION_S} s")
    most = training.memory_mb * 2**20 / TRAINING
    if size is not None and size > most:
        reasons.append(
            f"{size / 2**20:,.1f} MB of rows are above the {most / 2**20:,.1f} MB that {training.memory_mb:,} MB of "
            "memory take"
        )
    if not reasons:
        fits = "" if size is None else f"{size / 2**20:,.1f} of "
        return Place(
            "lambda",
            f"on Lambda: {fits}{most / 2**20:,.1f} MB of rows fit into {training.memory_mb:,} MB of memory, and "
            f"{training.timeout_s} s are within Lambda's {LONGEST_FUNCTION_S} s",
        )
    said = " and ".join(reasons)
    if training.where == "auto" and training.instance is not None:
        return Place("sagemaker", f"on SageMaker ({training.instance}): {said}")
    return Place(
        None,
        f"{said}; raise training.memory_mb, or give training.instance in model.toml, and deploy: SageMaker trains what "
        "Lambda cannot",
    )
