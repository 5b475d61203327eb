"""What the name of a SageMaker instance says about it: its processor, whether it has a GPU, and a disk of its own.

The rule: names alone, so that synth needs no network. The letters behind the generation say what is special
(https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html): ``g`` is AWS's own processor, ``d`` a
local disk. Accelerated families say it with their first letter.
"""

import re

_NAME = re.compile(r"ml\.([a-z]+)([0-9]+)([a-z]*)(?:-[a-z0-9]+)?\.[a-z0-9]+")
_GPU_FAMILIES = frozenset({"g", "p"})
_TOO_OLD = frozenset({"p2", "p3"})
"""GPUs that CUDA 13, which our image brings, no longer knows."""
_OWN_DISK = frozenset({"g5", "g6", "g6e", "g7", "g7e", "p5", "p5e", "p5en"})
"""Families with a local disk that their letters do not tell of."""


def has_gpu(instance: str) -> bool:
    """Whether an instance has an NVIDIA GPU that the image for GPUs runs on.

    Example:
        >>> has_gpu("ml.g5.xlarge"), has_gpu("ml.m6g.large"), has_gpu("ml.p3.2xlarge")
        (True, False, False)
    """
    found = _NAME.fullmatch(instance)
    return found is not None and found[1] in _GPU_FAMILIES and found[1] + found[2] not in _TOO_OLD


def is_arm(instance: str) -> bool:
    """Whether an instance has AWS's own processor (arm64) and not one of Intel or AMD.

    Example:
        >>> is_arm("ml.c7g.large"), is_arm("ml.c6gn.large"), is_arm("ml.g5.xlarge")
        (True, True, False)
    """
    found = _NAME.fullmatch(instance)
    return found is not None and "g" in found[3]


def has_own_disk(instance: str) -> bool:
    """Whether an instance keeps its files on a disk of its own, which its hardware encrypts and no key of ours does.

    Example:
        >>> has_own_disk("ml.m5d.large"), has_own_disk("ml.g4dn.xlarge"), has_own_disk("ml.m5.large")
        (True, True, False)
    """
    found = _NAME.fullmatch(instance)
    return found is not None and ("d" in found[3] or found[1] + found[2] + found[3] in _OWN_DISK)
