"""What an endpoint has to know to load a compiled form: is it for this machine, and what are its weights called?

A convolution's weights can be stored in blocks as wide as the processor's registers: 16 numbers with AVX-512, 8
without. onnxruntime does not check that a saved layout is its own, and on the other kind of processor the answers would
be wrong. So a form that has such a layout names its machine, and is taken only where the name is the same.

This module is read at every cold start: no imports but os.
"""

import os

ANY = "any"
"""Architecture of a form that every processor runs."""

WEIGHTS = "weights.bin"
"""The name by which a form asks for its weights."""

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""The session option with the folder that has them under this name."""

_CPU_FACTS = "/proc/cpuinfo"


def machine(facts: bytes | None = None) -> str:
    """Such as ``x86_64-avx512``, ``x86_64-avx2`` or ``aarch64``.

    Args:
        facts: What the system says about its processors; None reads it.
    """
    name = os.uname().machine
    if name != "x86_64":
        return name
    if facts is None:
        try:
            with open(_CPU_FACTS, "rb") as file:  # noqa: PTH123 - pathlib would be one import more at cold start
                facts = file.read(8192)
        except OSError:
            return name
    start = facts.find(b"\nflags")
    flags = facts[start : facts.find(b"\n", start + 1)].split() if start >= 0 else []
    if b"avx512f" in flags:
        return f"{name}-avx512"
    return f"{name}-avx2" if b"avx2" in flags else name
