"""What the control plane takes as bodies, checked whole before anything is read or written.

The rule: a field that is not known is refused, because a misspelt ``expected_revision`` would silently not protect; a
value is never converted, so ``"2"`` and ``true`` are not version numbers. What a text may be, the registry decides
(``modelyard.names``); it is asked here already, so that a wrong one is named beside everything else that is wrong.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from modelyard.names import (
    ID_PATTERN,
    LONGEST_NOTE,
    LONGEST_NOTES,
    LONGEST_REASON,
    MOST_TAGS,
    tag_problem,
    text_problem,
)
from modelyard.registry.reading import HIGHEST_VERSION
from modelyard.registry.rollout_claims import LONGEST_ID
from modelyard.traffic import MOST_ON_TRIAL
from modelyard.version import Task

HIGHEST_REVISION = 2**53 - 1
MOST_SAMPLED = 10_000
"""Instances of a sample; as many as one prediction request takes."""

EXAMPLE_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def _text(text: str, *, lines: bool = True) -> str:
    problem = text_problem(text, lines=lines)
    if problem is not None:
        raise ValueError(f"it {problem}")
    return text


def line_of_text(text: str) -> str:
    """``text``, when it is one line that people cannot be deceived by.

    Raises:
        ValueError: When it is not.
    """
    return _text(text, lines=False)


def _tag(text: str) -> str:
    problem = tag_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="SHA-256 in hex, lower case.", examples=[EXAMPLE_DIGEST]),
]
Note = Annotated[
    str,
    StringConstraints(max_length=LONGEST_NOTE, strip_whitespace=True),
    AfterValidator(_text),
    Field(description="One sentence about the version.", examples=["Trained on the 2026 season"]),
]
Reason = Annotated[
    str,
    StringConstraints(max_length=LONGEST_REASON, strip_whitespace=True),
    AfterValidator(_text),
    Field(
        description="Why, for the ledger. Some environments require it.", examples=["Fewer false alarms in the shadow"]
    ),
]
Tag = Annotated[str, AfterValidator(_tag)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_REASON, strip_whitespace=True), AfterValidator(_text)]
Why = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_REASON, strip_whitespace=True), AfterValidator(_text)
]
Line = Annotated[str, StringConstraints(max_length=LONGEST_REASON, strip_whitespace=True), AfterValidator(line_of_text)]
Number = Annotated[int, Field(ge=1, le=HIGHEST_VERSION, description="A version's number.", examples=[2])]
ExpectedRevision = Annotated[
    Annotated[int, Field(ge=0, le=HIGHEST_REVISION)] | None,
    Field(
        description="The revision on which you decided (0: nothing is live yet). A change since then is a 409.",
        examples=[3],
    ),
]
Operation = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN.pattern}$")] | None,
    Field(
        description="Your id of this change. A request with an id that was applied gets the same answer and changes "
        "nothing, so it can be repeated after a lost answer.",
        examples=["release-2026-11-21"],
    ),
]


class Body(BaseModel):
    """A JSON object with no other keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UploadBody(Body):
    """A file that is about to be uploaded."""

    sha256: Sha256
    size: int = Field(ge=1, le=2**40, description="Its bytes.", examples=[13412])


class RegisterBody(Body):
    """An upload that shall become a version."""

    sha256: Sha256
    task: Task = Field(description="What kind of answer the model gives.", examples=["multiclass"])
    note: Note = ""
    sample: Annotated[list[Any], Field(min_length=1, max_length=MOST_SAMPLED)] | None = Field(
        default=None,
        description="Rows like those of requests, as the graph takes them, for the version's contract.",
        examples=[[{"wind": 4.5}, {"wind": 2.9}]],
    )
    accept_breaking: Why | None = Field(
        default=None,
        description="Why it may break callers of the live version, for the ledger; left out, it may not.",
        examples=["All callers send gusts since release 4.1"],
    )
    description: Text | None = Field(
        default=None, description="The model's description; left out, it stays.", examples=["Weather of tomorrow"]
    )
    owner: Line | None = Field(
        default=None, description="The model's owner; left out, it stays.", examples=["forecast-team"]
    )
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] | None = Field(
        default=None, description="Words to find the model by; left out, they stay.", examples=[["weather"]]
    )
    code_digest: Sha256 | None = Field(
        default=None, description="SHA-256 of the model's own code, for the lineage.", examples=[EXAMPLE_DIGEST]
    )


class PromoteBody(Body):
    """A version that shall be live."""

    version: Number
    reason: Reason = ""
    expected_revision: ExpectedRevision = None
    operation: Operation = None


class RollbackBody(Body):
    """A way back. Empty: to the champion before the present one."""

    to: Number | None = Field(default=None, description="An earlier champion; left out, the one before.", examples=[1])
    reason: Reason = ""
    expected_revision: ExpectedRevision = None
    operation: Operation = None


class Share(Body):
    """A version that answers a share of the requests."""

    version: Number
    percent: int | float = Field(ge=0.01, le=99.99, description="Of the requests; at most two decimals.", examples=[5])


class TrialBody(Body):
    """Versions that shall answer beside the champion: one unseen, or some for a share of the requests."""

    shadow: Number | None = Field(
        default=None, description="A version that answers as well, and nobody is shown its answers.", examples=[None]
    )
    shares: Annotated[list[Share], Field(min_length=1, max_length=MOST_ON_TRIAL)] | None = Field(
        default=None,
        description="Versions that answer a share of the requests each; the champion answers the rest.",
        examples=[[{"version": 3, "percent": 5}]],
    )
    reason: Reason = ""
    expected_revision: ExpectedRevision = None
    operation: Operation = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.shadow is None) == (self.shares is None):
            raise ValueError("give either 'shadow' or 'shares'")
        versions = [share.version for share in self.shares or ()]
        if len(set(versions)) < len(versions):
            raise ValueError("'shares' names a version twice")
        return self


class EndTrialBody(Body):
    """The end of a trial."""

    reason: Reason = ""
    expected_revision: ExpectedRevision = None
    operation: Operation = None


class RolloutBody(Body):
    """A version that shall meet traffic in steps."""

    version: Number
    reason: Reason = ""
    rollout_id: Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN.pattern}$", max_length=LONGEST_ID)] | None = (
        Field(
            default=None,
            description="Your id of this rollout. A request with an id that was used gets that rollout, so it can be "
            "repeated after a lost answer.",
            examples=["release-2026-11-21"],
        )
    )


class ActBody(Body):
    """Why somebody steps in."""

    reason: Reason = ""


class NotesBody(Body):
    """Notes that shall replace the present ones."""

    text: Annotated[str, StringConstraints(max_length=LONGEST_NOTES), AfterValidator(_text)] = Field(
        description="Markdown; empty takes the notes away.", examples=["Ask the forecast team before you rely on snow."]
    )
    expected_revision: Annotated[int, Field(ge=0, le=HIGHEST_REVISION)] | None = Field(
        default=None,
        description="The revision that you read (0: there were none). A change since then is a 409.",
        examples=[1],
    )
