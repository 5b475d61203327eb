"""SHA-256 in hexadecimal, at the price that the size is worth.

``hashlib`` loads OpenSSL, which takes 2.5 ms and is several times faster per byte; Python's own takes nothing to load.
From a megabyte on OpenSSL is the cheaper one, and where it was loaded anyway it always is.
"""

import sys

WORTH_OPENSSL_BYTES = 1_000_000


def sha256_hex(content: bytes) -> str:
    """The digest of ``content``."""
    if len(content) >= WORTH_OPENSSL_BYTES or "_hashlib" in sys.modules:
        import hashlib

        return hashlib.sha256(content).hexdigest()
    if sys.version_info >= (3, 12):
        from _sha2 import sha256
    else:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
    return str(sha256(content).hexdigest())
