"""The pointer ``deployments/<model>.json``: which version is live, for readers without a database client.

The rule: a pointer is believed only whole. One field of a wrong type, another format or another model's name, and the
reader keeps what it has.
"""

from typing import Any

import msgspec

from modelyard.errors import ModelyardError

FORMAT = 1


class Deployed:
    """One version that the pointer names."""

    __slots__ = ("contract", "digest", "key", "signature", "size", "version")

    def __init__(
        self,
        version: int,
        digest: str,
        key: str,
        size: int,
        signature: dict[str, Any],
        contract: dict[str, Any] | None = None,
    ) -> None:
        self.version = version
        self.digest = digest
        self.key = key
        self.size = size
        self.signature = signature
        self.contract = contract


class Pointer:
    """A whole pointer; ``champion`` answers."""

    __slots__ = ("champion", "revision")

    def __init__(self, revision: int, champion: Deployed) -> None:
        self.revision = revision
        self.champion = champion

    @classmethod
    def parse(cls, raw: bytes, *, model: str) -> "Pointer":
        """Read the bytes of a pointer.

        Raises:
            ModelyardError: With code ``invalid_pointer``.
        """
        try:
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _invalid(f"is not JSON: {error}") from None
        if type(document) is not dict:
            raise _invalid("is not a JSON object")
        if document.get("format") != FORMAT:
            raise _invalid(f"has format {document.get('format')!r}; this reader knows {FORMAT}")
        if document.get("model") != model:
            raise _invalid(f"is of model {document.get('model')!r}, not {model!r}")
        revision = _field(document, "revision", int)
        champion = _field(document, "champion", dict)
        return cls(
            revision,
            Deployed(
                _field(champion, "version", int),
                _field(champion, "digest", str),
                _field(champion, "key", str),
                _field(champion, "size", int),
                _field(champion, "signature", dict),
                None if champion.get("contract") is None else _field(champion, "contract", dict),
            ),
        )


def pointer_key(model: str) -> str:
    """Where a model's pointer lies in the artifact bucket."""
    return f"deployments/{model}.json"


def _field(section: dict[str, Any], key: str, kind: type) -> Any:
    value = section.get(key)
    if type(value) is not kind:
        raise _invalid(f"has {key} of type {type(value).__name__}; it must be {kind.__name__}")
    return value


def _invalid(problem: str) -> ModelyardError:
    return ModelyardError(
        f"the pointer {problem}",
        code="invalid_pointer",
        next_step="Promote a version again; that writes the pointer anew.",
    )
