"""S3 for the endpoint, through obstore: three reads (whole, if changed, in pieces) and one write.

The rule: this is the one AWS client of the hot path, so it imports neither boto3 nor asyncio, bounds every wait, and
turns whatever goes wrong into `modelyard.errors`. Credentials are those that Lambda puts into the environment, or the
endpoint that it names there.
"""

import _thread
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotModifiedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from modelyard.errors import AWSError, CredentialsError, ModelyardError, NotFoundError

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
RETRIES = 3
RETRY_FOR_S = 10
LARGE_BYTES = 1_000_000
PIECE_BYTES = 256 << 10


class Objects:
    """The objects of one bucket.

    Args:
        store: An obstore store; `open_bucket` makes the one for S3.
        name: The bucket's, for messages.
        reopen: Makes another such store.
    """

    __slots__ = ("_reopen", "_store", "name")

    def __init__(self, store: Any, name: str, *, reopen: Callable[[], Any] | None = None) -> None:
        self._store = store
        self._reopen = reopen
        self.name = name

    def get(self, key: str) -> tuple[bytes, str]:
        """The bytes of an object and its ETag; of an object above `LARGE_BYTES` a `memoryview` of them.

        Raises:
            NotFoundError: When there is no such object (code ``object_not_found``). S3 says so only to who may list the
                bucket; to others it is a `CredentialsError`.
            CredentialsError: When AWS refuses the credentials or the access (code ``access_denied``).
            AWSError: When S3 does not answer, or with something else.
        """
        return self._get(key, None)

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """The same, or ``None`` while the object still has this ETag.

        Raises:
            ModelyardError: As `get` does.
        """
        try:
            return self._get(key, {"if_none_match": etag})
        except NotModifiedError:
            return None

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, in buffers of a quarter of a megabyte, one after the other as they arrive.

        Raises:
            ModelyardError: As `get` does, at the first piece or any later one.
        """
        try:
            yield from obstore.get(self._store, key).stream(min_chunk_size=PIECE_BYTES)
        except (BaseError, OSError) as error:
            raise self._translated(error, key, "read") from error

    def put(self, key: str, content: bytes) -> None:
        """Write an object in one request, over one of the same key.

        Raises:
            ModelyardError: As `get` does.
        """
        try:
            obstore.put(self._store, key, content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._translated(error, key, "write") from error

    def reconnect(self) -> None:
        """Forget connections and credentials: a restored snapshot holds those of the machine that made it."""
        if self._reopen is not None:
            self._store = self._reopen()

    def _get(self, key: str, options: Any) -> tuple[bytes, str]:
        try:
            found = obstore.get(self._store, key, options=options)
            content: Any = found.bytes()
            # To copy 90 MB takes 40 ms in which no request is answered: a large object stays where it was received.
            content = content.to_bytes() if len(content) < LARGE_BYTES else memoryview(content)
            return content, found.meta["e_tag"] or ""
        except NotModifiedError:
            raise
        except (BaseError, OSError) as error:
            raise self._translated(error, key, "read") from error

    def _translated(self, error: Exception, key: str, verb: str) -> ModelyardError:
        where = f"{self.name}/{key}"
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"there is no object {where}", code="object_not_found")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return CredentialsError(
                f"AWS refuses to {verb} {where}",
                code="access_denied",
                next_step="Check that the function's role may read and list the artifact bucket."
                if verb == "read"
                else "Check that the function's role may write this key.",
            )
        return AWSError(
            f"cannot {verb} {where}: {str(error)[:300]}", next_step="It is tried again; see the status of S3."
        )


class FirstGet:
    """A bucket one of whose objects is being fetched since this was made; whoever asks for it first waits for that.

    Args:
        objects: The bucket.
        key: Of the object.
    """

    __slots__ = ("_done", "_found", "_key", "_objects")

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects = objects
        self._key: str | None = key
        self._found: tuple[bytes, str] | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._fetch, (key,))

    def get(self, key: str) -> tuple[bytes, str]:
        """As `Objects.get`."""
        if key != self._key:
            return self._objects.get(key)
        self._key = None
        with self._done:
            found, self._found = self._found, None
        return found or self._objects.get(key)  # that one failed: the second attempt says why

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """As `Objects.get_if_changed`."""
        return self._objects.get_if_changed(key, etag)

    def pieces(self, key: str) -> Iterator[bytes]:
        """As `Objects.pieces`."""
        return self._objects.pieces(key)

    def _fetch(self, key: str) -> None:
        try:
            self._found = self._objects.get(key)
        except ModelyardError:
            pass
        finally:
            self._done.release()


def open_bucket(bucket: str, environ: Mapping[str, str]) -> Objects:
    """The bucket's objects, with region, endpoint and credentials from the environment.

    Args:
        bucket: Name of the bucket.
        environ: ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, or the two
            variables of a credential endpoint, and ``AWS_ENDPOINT_URL`` where AWS is an emulator; over plain http only
            if that URL says so.
    """

    def opened() -> Any:
        return _open_store(bucket, environ)

    return Objects(opened(), bucket, reopen=opened)


def open_folder(folder: str) -> Objects:
    """A folder of this machine in the place of a bucket: the same keys, as files below it."""
    from obstore.store import LocalStore

    return Objects(LocalStore(folder), folder)


def _open_store(bucket: str, environ: Mapping[str, str]) -> Any:
    config: dict[str, Any] = {}
    for key, variable in (
        ("region", "AWS_REGION"),
        ("access_key_id", "AWS_ACCESS_KEY_ID"),
        ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("session_token", "AWS_SESSION_TOKEN"),
    ):
        if environ.get(variable):
            config[key] = environ[variable]
    client_options: dict[str, Any] = {
        "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
        # Per read, not for the whole: a large model may take long, a stalled connection may not.
        "read_timeout": f"{READ_TIMEOUT_S}s",
        "timeout": "300s",
    }
    endpoint = environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        config["endpoint"] = endpoint
        config["virtual_hosted_style_request"] = False
        client_options["allow_http"] = endpoint.startswith("http://")
    if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in environ:
        from modelyard.aws.container_credentials import ContainerCredentials

        credentials = ContainerCredentials.of(environ)
    else:
        credentials = None
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]  # obstore types it as a TypedDict that exists in its stubs only
        client_options=client_options,  # type: ignore[arg-type]
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
        credential_provider=credentials,  # type: ignore[arg-type]  # a dictionary of that form
    )
