"""What is in the folder: every file by its path, as bytes. Pure, but for reading ``predict.py`` beside this module."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import msgspec

from modelyard.card import Card, to_html, to_markdown
from modelyard.card.markdown import inline
from modelyard.errors import AWSError
from modelyard.exporting.code import OwnCode
from modelyard.version import Version

SUMS = "SHA256SUMS"
MODEL, MANIFEST, SCRIPT = "model.onnx", "manifest.json", "predict.py"
EXAMPLE = "example.json"

_PLACE = "PACKAGE: str | None = None"
_WHAT = {
    MODEL: "the model, exactly as it is registered",
    SCRIPT: "asks it, with onnxruntime and numpy alone",
    EXAMPLE: "a first request",
    MANIFEST: "everything that the registry knows about the version",
    "card.md": "the model card: what it answers, how good it is, its limits",
    "card.html": "the same for a browser and for paper",
    SUMS: "checksums of all other files",
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a folder is made of.

    Attributes:
        version: The version.
        model: Its bytes, checked.
        card: Its card.
        example: A first request, as JSON, where one is known.
        code: The model's own code, where it is that of the version.
        remarks: What the folder lacks and a reader must know, as sentences.
        requirements: What is to be installed, as arguments of pip.
    """

    version: Version
    model: bytes
    card: Card
    example: bytes | None
    code: OwnCode | None
    remarks: Sequence[str]
    requirements: Sequence[str]


def check_bytes(version: Version, body: bytes | None) -> bytes:
    """The bytes of a version's artifact, when they are those that were registered.

    Raises:
        AWSError: With code ``artifact_damaged`` when they are missing or others.
    """
    manifest = version.manifest
    if body is not None and len(body) == manifest.size and hashlib.sha256(body).hexdigest() == manifest.digest:
        return body
    found = "is missing" if body is None else f"has other bytes ({len(body):,} of them)"
    raise AWSError(
        f"artifact {manifest.key} {found}; version {version.number} of model {manifest.model!r} has {manifest.size:,} "
        f"bytes with SHA-256 {manifest.digest[:12]}…",
        code="artifact_damaged",
        next_step="Restore the object from an earlier S3 version; nothing was written.",
    )


def folder_files(content: Content) -> dict[str, bytes]:
    """Every file of the folder by its path, the checksums last."""
    found = {
        "README.md": b"",
        MODEL: content.model,
        MANIFEST: msgspec.json.format(msgspec.json.encode(content.version), indent=2) + b"\n",
        SCRIPT: _script(content.code),
        "card.md": to_markdown(content.card).encode(),
        "card.html": to_html(content.card).encode(),
    }
    if content.example is not None:
        found[EXAMPLE] = content.example
    if content.code is not None:
        found |= {f"python/{path}": body for path, body in content.code.files.items()}
    found["README.md"] = _readme(content, found).encode()
    return found | {SUMS: checksums(found)}


def checksums(found: dict[str, bytes]) -> bytes:
    """The text that ``sha256sum -c`` reads."""
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {path}\n" for path, body in sorted(found.items())).encode()


def _script(code: OwnCode | None) -> bytes:
    text = files("modelyard.exporting").joinpath(SCRIPT).read_text("utf-8")
    return (text if code is None else text.replace(_PLACE, f'PACKAGE: str | None = "{code.package}"', 1)).encode()


def _readme(content: Content, found: dict[str, bytes]) -> str:
    version = content.version
    manifest = version.manifest
    about = content.card.about
    lines = [f"# {manifest.model}, version {version.number}", ""]
    if about:
        lines += [inline(about, starts=True), ""]
    for remark in content.remarks:
        lines += [f"**Note:** {remark}", ""]
    needed = " ".join(f'"{requirement}"' for requirement in content.requirements)
    lines += ["## Ask it", "", "```sh", f"python -m pip install {needed}"]
    if EXAMPLE in found:
        lines.append(f"python {SCRIPT}                # asks with {EXAMPLE}")
    lines += [f"python {SCRIPT} request.json   # asks with a file of yours", "```", ""]
    lines += ['A request is `{"instances": [...]}`; `card.md` says what an instance is made of.', ""]
    lines += [
        "## Check it",
        "",
        "```sh",
        f"sha256sum -c {SUMS}",
        "```",
        "",
        "## What is here",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| `{path}` | {what} |" for path, what in _WHAT.items() if path in found or path == SUMS]
    if content.code is not None:
        lines.append(f"| `python/{content.code.package}/` | the model's own code, which `{SCRIPT}` calls |")
        if any(path.startswith("python/modelyard/") for path in found):
            lines.append("| `python/modelyard/` | the parts of Modelyard that this code imports (Apache-2.0) |")
    lines += ["", f"The model's SHA-256 is `{manifest.digest}`.", ""]
    return "\n".join(lines)
