"""SHA-256 in hexadecimal, at the price that the size is worth.

``hashlib`` loads OpenSSL, which takes 2.5 ms, is several times faster per byte and leaves other threads alone; Python's
own takes nothing to load. In haste, at a cold start, OpenSSL is the cheaper one from a megabyte on. While requests are
answered it nearly always is, and where it was loaded anyway.
"""

import sys

WORTH_OPENSSL_BYTES = 1_000_000
WORTH_A_PAUSE_BYTES = 65_536  # 0.2 ms of Python's own, in which no request is answered


def sha256_hex(content: bytes, *, in_haste: bool = False) -> str:
    """The digest of ``content``; ``in_haste`` when nothing else goes on and it is waited for."""
    worth = WORTH_OPENSSL_BYTES if in_haste else WORTH_A_PAUSE_BYTES
    if len(content) >= worth or "_hashlib" in sys.modules:
        import hashlib

        return hashlib.sha256(content).hexdigest()
    if sys.version_info >= (3, 12):
        from _sha2 import sha256
    else:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
    return str(sha256(content).hexdigest())
