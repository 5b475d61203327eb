"""Seventh stage: a finished layer or function on disk, and what is known about it.

Its folder holds one zip file, named after its content, and ``manifest.json``. The zip is renamed into place
first and the manifest second, so a manifest always names a whole zip: a build that is killed at any point leaves
the old layer or the new one. Nothing in a manifest depends on the machine or the time.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelyard.packaging.archive import Archive

FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class LayerManifest:
    """A built layer, or a function's own code, which is built like one.

    Attributes:
        name: ``core``, ``lean``, ``serving``, ``training``, ``notebook``, ``api``, ``model-<name>``,
            ``training-<name>`` or ``function-<file>``.
        target: Like ``python3.13-arm64``.
        digest: SHA-256 over names and contents; CDK's asset hash.
        inputs: SHA-256 over what it was built from.
        unzipped_bytes: What counts against Lambda's limit.
        zip_bytes: What is uploaded.
        files: How many files.
        bytecode: Full version of the Python that compiled it, or None.
        packages: Distributions and their bytes, heaviest first.
        modules: Names that can be imported from it.
        pruned: What was removed of its wheels, and how many bytes, most first.
        left_out: Packages of its lock that another layer brings, and which.
        path: The zip file.
        native: SHA-256 of what of ours is compiled in it; None where nothing is.
    """

    name: str
    target: str
    digest: str
    inputs: str
    unzipped_bytes: int
    zip_bytes: int
    files: int
    bytecode: str | None
    packages: tuple[tuple[str, int], ...]
    modules: tuple[str, ...]
    pruned: tuple[tuple[str, int], ...]
    left_out: tuple[tuple[str, str], ...]
    path: Path
    native: str | None = None


def lock_digest(layers: Sequence[LayerManifest]) -> str:
    """The digest of a training's third-party layers: of its one layer, or of all of them together."""
    digests = [layer.digest for layer in layers]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def layer_folder(project: Path, target: str, layer: str) -> Path:
    """Where a layer or function lies: ``build/layers/<target>/<name>``."""
    return project / "build" / "layers" / target / layer


def read_manifest(folder: Path) -> LayerManifest | None:
    """The layer in ``folder``, or None when there is none, an older format, or its zip is not whole."""
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            return None
        path = folder / zip_name(document["digest"])
        document["packages"] = tuple((name, size) for name, size in document["packages"])
        document["modules"] = tuple(document["modules"])
        document["pruned"] = tuple((kind, size) for kind, size in document["pruned"])
        document["left_out"] = tuple((name, layer) for name, layer in document["left_out"])
        manifest = LayerManifest(path=path, **document)
        whole = path.stat().st_size == manifest.zip_bytes
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole else None


def commit(folder: Path, manifest: LayerManifest) -> LayerManifest:
    """Move the zip at ``manifest.path`` into ``folder``, then the manifest, then remove what they replace."""
    final = replace(manifest, path=folder / zip_name(manifest.digest))
    manifest.path.replace(final.path)
    document = {"format": FORMAT, **{key: value for key, value in asdict(final).items() if key != "path"}}
    draft = folder / f".{MANIFEST}.{os.getpid()}"
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(folder / MANIFEST)
    for old in folder.glob("*.zip"):
        if old != final.path:
            old.unlink()
    return final


def zip_name(digest: str) -> str:
    """Name of a layer's zip file."""
    return f"{digest[:16]}.zip"


def describe_layer(
    *,
    name: str,
    target: str,
    inputs: str,
    bytecode: str | None,
    archive: Archive,
    owners: Mapping[str, str],
    pruned: Mapping[str, int],
    left_out: Mapping[str, str],
    path: Path,
    native: str | None = None,
) -> LayerManifest:
    """The manifest of an archive; ``owners`` says which distribution a file belongs to."""
    sizes: dict[str, int] = {}
    modules: set[str] = set()
    for file, size in archive.files:
        top = file.split("/", 1)[0]
        owner = owners.get(_source_of(file), top)
        sizes[owner] = sizes.get(owner, 0) + size
        module = top.split(".", 1)[0]
        if module.isidentifier() and not top.endswith((".dist-info", ".libs", "__pycache__")):
            modules.add(module)
    return LayerManifest(
        name=name,
        target=target,
        digest=archive.digest,
        inputs=inputs,
        unzipped_bytes=archive.unzipped_bytes,
        zip_bytes=archive.zip_bytes,
        files=len(archive.files),
        bytecode=bytecode,
        packages=_heaviest_first(sizes),
        modules=tuple(sorted(modules)),
        pruned=_heaviest_first(pruned),
        left_out=tuple(sorted(left_out.items())),
        path=path,
        native=native,
    )


def _heaviest_first(sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def read_owners(tree: Path) -> dict[str, str]:
    """Which distribution each installed file belongs to, from the RECORD files; read before pruning."""
    owners: dict[str, str] = {}
    for record in tree.glob("*.dist-info/RECORD"):
        distribution = record.parent.name.split("-", 1)[0].replace("_", "-").lower()
        for line in record.read_text(encoding="utf-8").splitlines():
            owners[line.rsplit(",", 2)[0].strip('"')] = distribution
    return owners


def _source_of(file: str) -> str:
    folder, _, name = file.rpartition("/")
    if not name.endswith(".pyc"):
        return file
    source = f"{name.split('.', 1)[0]}.py"
    parent = folder.removesuffix("__pycache__")
    return f"{parent}{source}"
