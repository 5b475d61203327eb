"""The manifest of a version, from what a caller says: checked whole, before anything is written."""

import hashlib
from typing import Any, get_args

import msgspec

from modelyard.canonical import canonical_json, check_json
from modelyard.errors import UsageError
from modelyard.names import LONGEST_NOTE, check_name, check_text
from modelyard.registry.promises import check_contract
from modelyard.version import Compilation, Manifest, Task, artifact_key

LARGEST_MANIFEST = 256 * 1024
"""A database item holds 400 KB, and a manifest counts somewhat more there than as JSON."""


def manifest_of(model: str, artifact: bytes, **parts: Any) -> Manifest:
    """The checked manifest of these parts; ``compilation`` comes later, see ``compiled_manifest``.

    Raises:
        UsageError: When a value cannot be stored.
    """
    check_name(model)
    if parts["task"] not in get_args(Task):
        raise UsageError(
            f"task {ascii(parts['task'])[:40]} is not one of {', '.join(get_args(Task))}",
            code="invalid_task",
            field="task",
        )
    if not artifact:
        raise UsageError("the artifact has 0 bytes", code="empty_artifact", field="artifact")
    check_text(parts["note"], field="note", limit=LONGEST_NOTE)
    digest = hashlib.sha256(artifact).hexdigest()
    plain = msgspec.to_builtins({"model": model, "digest": digest, "key": artifact_key(digest), **parts})
    for field, value in plain.items():
        check_json(value, field=field)
    try:
        manifest = msgspec.convert({**plain, "size": len(artifact)}, Manifest)
    except msgspec.ValidationError as wrong:
        raise UsageError(f"the manifest is not valid: {wrong}", code="invalid_manifest") from wrong
    _check_size(manifest)
    if manifest.contract is not None:
        check_contract(manifest)
    return manifest


def compiled_manifest(manifest: Manifest, compilation: Compilation) -> Manifest:
    """``manifest`` with what a compiler made of its artifact, which is no part of its identity.

    Raises:
        UsageError: When it cannot be stored.
    """
    check_json(msgspec.to_builtins(compilation), field="compilation")
    manifest = msgspec.structs.replace(manifest, compilation=compilation)
    _check_size(manifest)
    return manifest


def _check_size(manifest: Manifest) -> None:
    size = len(canonical_json(msgspec.to_builtins(manifest)))
    if size > LARGEST_MANIFEST:
        raise UsageError(
            f"the manifest has {size:,} bytes of JSON, {len(canonical_json(manifest.contract)):,} of them the "
            f"contract; at most {LARGEST_MANIFEST:,} are stored",
            code="manifest_too_large",
            next_step="Shorten the contract: list fewer categories, or leave out free-text columns.",
        )
