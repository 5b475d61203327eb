"""The pointer: ``deployments/<model>.json``, what an endpoint needs to answer and nothing else.

The database is the truth; the pointer repeats it for readers that cannot afford a database client. It is a function of
the deployment and its versions alone, so the same revision always gives the same bytes, and whoever finds it missing or
behind can write it again. The endpoint reads it with ``modelyard.serving.pointer``, which believes it only whole.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.deployment import Deployment, Mode, slots_of
from modelyard.traffic import Slots
from modelyard.version import Signature, StoredFile, Version

FORMAT = 1


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled form of a version; who loads it has to be of its architecture and of the target's onnxruntime.

    ``requires`` names what else it takes; a reader that is older than the field would try the form, and leave it.
    """

    architecture: str
    model: StoredFile
    weights: StoredFile | None = None
    requires: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One version as the endpoint loads it."""

    version: int
    digest: str
    key: str
    size: int
    signature: Signature
    contract: dict[str, Any] | None = None
    code_digest: str | None = None
    onnxruntime: str = ""
    forms: tuple[Form, ...] = ()


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document."""

    format: int = FORMAT
    model: str
    revision: int
    mode: Mode
    split: int | float
    updated_at: str
    champion: Target
    challenger: Target | None = None
    others: tuple[Target, ...] = ()
    slots: Slots = ()
    salt: str = ""


class _Revision(msgspec.Struct):
    revision: int


def pointer_for(deployment: Deployment, versions: Mapping[int, Version]) -> Pointer:
    """The pointer of ``deployment``; ``versions`` holds its champion and its challengers by number."""
    return Pointer(
        model=deployment.model,
        revision=deployment.revision,
        mode=deployment.mode,
        split=deployment.split,
        updated_at=deployment.changed_at,
        champion=_target(versions[deployment.champion]),
        challenger=None if deployment.challenger is None else _target(versions[deployment.challenger]),
        others=tuple(_target(versions[number]) for number in deployment.others),
        slots=slots_of(deployment) if deployment.mode == "canary" else (),
        salt=deployment.salt,
    )


def _target(version: Version) -> Target:
    manifest = version.manifest
    compilation = manifest.compilation
    return Target(
        version=version.number,
        digest=manifest.digest,
        key=manifest.key,
        size=manifest.size,
        signature=manifest.signature,
        contract=manifest.contract,
        code_digest=manifest.lineage.code_digest,
        onnxruntime=compilation.onnxruntime if compilation else "",
        forms=tuple(
            Form(architecture=form.architecture, model=form.model, weights=form.weights, requires=form.requires)
            for form in (compilation.forms if compilation else ())
        ),
    )


def encode_pointer(pointer: Pointer) -> bytes:
    """The pointer's bytes."""
    return msgspec.json.encode(pointer)


def pointer_revision(body: bytes) -> int:
    """The revision that ``body`` carries, whatever else is in it; 0 when it is damaged, so that it gets replaced."""
    try:
        return msgspec.json.decode(body, type=_Revision).revision
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
