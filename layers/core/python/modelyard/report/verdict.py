"""The verdict of a run in words: what became of it, and what that means for whoever calls the model."""

from typing import NamedTuple

from modelyard.report.document import Document, Verdict

_WORDS: dict[Verdict, tuple[str, str]] = {
    "promoted": ("Promoted", "live"),
    "registered": ("Registered", "live"),
    "rejected": ("Rejected", "trial"),
    "refused": ("Refused", "trial"),
    "failed": ("Failed", "off"),
}


class Said(NamedTuple):
    """A verdict: one word, its tone, and what follows from it."""

    word: str
    tone: str
    follows: str


def verdict_of(document: Document) -> Said:
    """The verdict, as far as the document knows it: it is written before the version is registered."""
    number = "a version" if document.version is None else f"version {document.version}"
    if document.verdict is None and document.passed:
        automatic = document.plan.get("automatic", True)
        then = "and becomes the champion." if automatic else "and waits for a person to make it the champion."
        return Said("Passed", "live", f"It is registered as {number} {then}")
    kind = document.verdict or "rejected"
    if kind == "rejected" and not document.metrics.get("challenger"):
        kind = "refused"  # a run's status has one word for both
    word, tone = _WORDS[kind]
    match kind:
        case "promoted":
            follows = f"It is {number} and was made the champion."
        case "registered":
            follows = f"It is {number}. It is not the champion until somebody promotes it."
        case "rejected" if document.champion is None and document.opposing == "baseline":
            follows = "It became no version. The model still has no live version."
        case "rejected":
            follows = f"It became no version. {_untouched(document)}"
        case "refused":
            follows = f"Nothing was trained. {_untouched(document)}"
        case "failed" if document.version is not None:
            follows = f"The run broke off after it had registered {number}; 'modelyard status' says what is live."
        case "failed":
            follows = f"The run broke off. {_untouched(document)}"
    return Said(word, tone, follows)


def _untouched(document: Document) -> str:
    number = "" if document.champion is None else f", version {document.champion},"
    return f"The live model{number} is untouched."
