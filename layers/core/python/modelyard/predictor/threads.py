"""How many threads one run may use."""

MB_PER_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


def threads_for(memory_mb: int) -> int:
    """How many threads a function of ``memory_mb`` MB has processors for; at least 1.

    Lambda gives 1 vCPU for each 1,769 MB; more threads than that only wait for each other.
    """
    return max(1, round(memory_mb / MB_PER_VCPU))
