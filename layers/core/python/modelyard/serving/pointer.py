"""The pointer ``deployments/<model>.json``: which version is live, for readers without a database client.

The rule: a pointer is believed only whole. One field of a wrong type, another format or another model's name, and the
reader keeps what it has.
"""

from typing import Any

import msgspec

from modelyard.errors import ModelyardError

FORMAT = 1


class File:
    """An object of the artifact bucket; its digest is checked by who fetches it."""

    __slots__ = ("digest", "key", "size")

    def __init__(self, key: str, digest: str, size: int) -> None:
        self.key = key
        self.digest = digest
        self.size = size


class Form:
    """A compiled form of a version.

    Attributes:
        requires: The library of ours that it cannot be loaded without; empty: none.
    """

    __slots__ = ("architecture", "model", "requires", "weights")

    def __init__(self, architecture: str, model: File, weights: File | None, requires: str = "") -> None:
        self.architecture = architecture
        self.model = model
        self.weights = weights
        self.requires = requires


class Deployed:
    """One version that the pointer names.

    Attributes:
        file: The artifact of record; what serves where no form does.
        onnxruntime: Version for which `forms` are proven.
    """

    __slots__ = ("contract", "file", "forms", "onnxruntime", "signature", "version")

    def __init__(
        self,
        version: int,
        file: File,
        signature: dict[str, Any],
        contract: dict[str, Any] | None = None,
        onnxruntime: str = "",
        forms: tuple[Form, ...] = (),
    ) -> None:
        self.version = version
        self.file = file
        self.signature = signature
        self.contract = contract
        self.onnxruntime = onnxruntime
        self.forms = forms

    @property
    def digest(self) -> str:
        """Of the artifact of record."""
        return self.file.digest

    @classmethod
    def parse(cls, section: dict[str, Any]) -> "Deployed":
        """Read one version's part of a pointer.

        Raises:
            ModelyardError: With code ``invalid_pointer``.
        """
        forms = _field(section, "forms", list) if section.get("forms") is not None else []
        return cls(
            _field(section, "version", int),
            _file(section),
            _field(section, "signature", dict),
            None if section.get("contract") is None else _field(section, "contract", dict),
            str(section.get("onnxruntime") or ""),
            tuple(_form(form) for form in forms),
        )


class Pointer:
    """A whole pointer; ``champion`` answers.

    Attributes:
        trial: The document, while versions are on trial; `modelyard.serving.trial` reads it. What is wrong there is no
            reason not to believe who the champion is.
    """

    __slots__ = ("champion", "revision", "trial")

    def __init__(self, revision: int, champion: Deployed, trial: dict[str, Any] | None = None) -> None:
        self.revision = revision
        self.champion = champion
        self.trial = trial

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
        champion = Deployed.parse(_field(document, "champion", dict))
        trial = None if document.get("mode") in (None, "live") else document
        return cls(_field(document, "revision", int), champion, trial)


def _form(section: Any) -> Form:
    if type(section) is not dict:
        raise _invalid("has a form that is no object")
    weights = section.get("weights")
    return Form(
        _field(section, "architecture", str),
        _file(_field(section, "model", dict)),
        None if weights is None else _file(_field(section, "weights", dict)),
        str(section.get("requires") or ""),
    )


def _file(section: dict[str, Any]) -> File:
    return File(_field(section, "key", str), _field(section, "digest", str), _field(section, "size", int))


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
