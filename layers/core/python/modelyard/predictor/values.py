"""Tensors that came as buffers, held to what the JSON forms are held to: shape, conversion, NaN and infinity.

The rule is that of `modelyard.predictor.encode`: an array says the same as the JSON that has its values, and is refused
for the same reasons with the same codes. NaN stands for ``null``; infinity has no JSON, so it is no value.
"""

import struct
from collections.abc import Sequence
from math import isfinite, isinf, isnan

from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, Array, all_finite
from modelyard.predictor.encode import limits, shown
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor


def check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Hold a whole shape, batch axis and all, to the signature; how many rows there may be is not looked at.

    Raises:
        RequestError: With code ``wrong_shape``.
    """
    fits = len(shape) == len(tensor.shape) and all(
        size in (None, length) and length > 0 for size, length in zip(tensor.shape[1:], shape[1:], strict=True)
    )
    if not fits:
        wanted = ["n" if size is None else size for size in (None, *tensor.shape[1:])]
        raise RequestError(
            f"{tensor.name!r} has shape {_listed(list(shape))}; it must be {_listed(wanted)}",
            code="wrong_shape",
            field=tensor.name,
        )


def check_finite(tensor: Tensor, array: Array, *, nullable: bool) -> None:
    """Refuse infinity, and NaN where no value may be missing.

    Raises:
        RequestError: With code ``out_of_range`` or ``wrong_type``, and the first row at fault.
    """
    if array.dtype not in FLOATS:
        return
    elements = array.elements()
    if all_finite(array.dtype, elements):
        return
    refused = isinf if nullable else lambda value: not isfinite(value)
    place = next((at for at, value in enumerate(elements) if refused(value)), None)
    if place is None:
        return
    row = place // (len(elements) // array.shape[0])
    if isnan(elements[place]):
        problem, code = f"is NaN, which stands for null; {array.dtype} takes a number", "wrong_type"
    else:
        least, most = limits(array.dtype)
        problem, code = f"is {shown(elements[place])}; {array.dtype} goes from {least} to {most}", "out_of_range"
    raise RequestError(f"{tensor.name!r} of instance {row} {problem}", code=code, field=tensor.name, row=row)


def converted(tensor: Tensor, array: Array) -> Array:
    """The array in the dtype that the model takes, where JSON numbers would be taken: the buffer itself if it has it.

    Numbers become floats and integers become integers of another size, if they fit; a fraction is no integer, a number
    no boolean and no text.

    Raises:
        RequestError: With code ``wrong_type`` for a dtype that never fits, ``out_of_range`` for a value that does not.
    """
    if array.dtype == tensor.dtype:
        return array
    numbers = INTEGERS if tensor.dtype in INTEGERS else INTEGERS | FLOATS if tensor.dtype in FLOATS else frozenset()
    if array.dtype not in numbers:
        raise RequestError(
            f"{tensor.name!r} has dtype {array.dtype}; the model takes {tensor.dtype}",
            code="wrong_type",
            field=tensor.name,
            next_step=f"Convert it: column.cast({tensor.dtype!r}) in Arrow"
            + ("; NPY holds no text." if tensor.dtype == "string" else f", array.astype({tensor.dtype!r}) in numpy."),
        )
    elements = array.elements()
    try:
        return Array.pack(tensor.dtype, array.shape, elements)
    except (OverflowError, struct.error):
        least, most = limits(tensor.dtype)
    place = next(at for at, value in enumerate(elements) if not _fits(tensor.dtype, value))
    row = place // (len(elements) // array.shape[0])
    raise RequestError(
        f"{tensor.name!r} of instance {row} is {shown(elements[place])}; {tensor.dtype} goes from {least} to {most}",
        code="out_of_range",
        field=tensor.name,
        row=row,
    )


def _fits(dtype: str, value: float) -> bool:
    try:
        struct.pack(f"={CODES[dtype]}", value)
    except (OverflowError, struct.error):
        return False
    return True


def _listed(sizes: Sequence[object]) -> str:
    text = f"[{', '.join(map(str, sizes[:8]))}"
    return f"{text}]" if len(sizes) <= 8 else f"{text}, and {len(sizes) - 8} more]"
