"""`Fetch`: the files of a version out of the bucket, each compared with the digest that the pointer names.

The rule: a large file never becomes one large buffer while requests are answered. To copy 90 MB of memory, or to give
it back, takes 5 to 40 ms in which Python does nothing else; piece by piece into a file, no request notices. Nor does it
come as fast as it can: a request that shares a processor, or a memory bus, with 90 MB on their way takes twice as long.
"""

import os
import time
from typing import TYPE_CHECKING, NoReturn

from modelyard.errors import ModelyardError
from modelyard.serving.pointer import File
from modelyard.sha256 import sha256_hex

if TYPE_CHECKING:
    from modelyard.serving.follow import ObjectSource

BESIDE_BYTES_PER_S = 100 << 20
"""How fast a file comes beside requests, unless its time would not suffice."""


class Fetch:
    """Reads files for one model.

    Args:
        objects: The artifact bucket.
        model: Name of the model, for messages.
        in_haste: Whether nothing is answered meanwhile.
        beside: Whether the version is one that requests can do without, as on trial: it needs room beside the others.
        spread_s: Seconds for which a file may be on its way, for the sake of requests that come one after the other.
    """

    __slots__ = ("_model", "_objects", "beside", "in_haste", "spread_s")

    def __init__(
        self, objects: "ObjectSource", model: str, *, in_haste: bool, beside: bool = False, spread_s: float = 0.0
    ) -> None:
        self._objects = objects
        self._model = model
        self.spread_s = spread_s
        self.in_haste = in_haste
        self.beside = beside

    def __call__(self, file: File) -> bytes:
        """The bytes of a file, or a buffer of them.

        Raises:
            ModelyardError: When they are others than the pointer names (code ``wrong_digest``), or S3 does not give
                them.
        """
        content, _ = self._objects.get(file.key)
        digest = sha256_hex(content, in_haste=self.in_haste)
        if digest != file.digest or len(content) != file.size:
            self._refuse(file, digest, len(content))
        return content

    def into(self, file: File, descriptor: int) -> None:
        """Write a file to an open one.

        Raises:
            ModelyardError: As above; what was written until then is of no use.
            OSError: When there is no room.
        """
        import hashlib

        found, size, began = hashlib.sha256(), 0, time.monotonic()
        gentle_s = min(self.spread_s, file.size / BESIDE_BYTES_PER_S)
        for piece in self._objects.pieces(file.key):
            rest = memoryview(piece)
            found.update(rest)
            size += len(rest)
            if size > file.size:
                break
            while len(rest):
                rest = rest[os.write(descriptor, rest) :]
            early = began + gentle_s * size / file.size - time.monotonic()
            if early > 0:
                time.sleep(early)
        if found.hexdigest() != file.digest or size != file.size:
            self._refuse(file, found.hexdigest(), size)

    def _refuse(self, file: File, digest: str, size: int) -> NoReturn:
        raise ModelyardError(
            f"{file.key} holds {size} bytes of digest {digest}; the pointer names {file.size} of {file.digest}",
            code="wrong_digest",
            next_step=f"Roll back, then register the model again: modelyard rollback {self._model}.",
        )
