"""What the control plane takes in a path and in a query string.

The rule is that of the bodies: a key that is not known is refused, and so is one that is given twice where one value
counts, because a filter that is ignored gives a wrong answer. What came as text is read strictly.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from modelyard.control.bodies import line_of_text
from modelyard.names import LONGEST_REASON, MOST_TAGS, TAG_PATTERN
from modelyard.registry import Bounds, Search
from modelyard.registry.reading import PAGE
from modelyard.version import Task

LONGEST_PAGE = 100
LONGEST_METRIC = 200
REPEATED = frozenset({"tag"})
"""What may be given more than once."""

_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def whole_number(value: object) -> object:
    """``value`` of a path or a query string, when it is written as a plain whole number.

    Raises:
        ValueError: When it is not: int() would also take ``1_000``, `` 1 `` and digits of other scripts.
    """
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("a whole number of at most 9 digits is expected")
    return value


def decimal_number(value: object) -> object:
    """``value`` of a query string, when it is written as a plain number; one that is too large is found later.

    Raises:
        ValueError: When it is not: float() would also take ``nan``, ``1_0``, `` 1 `` and digits of other scripts.
    """
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError("a number like 0.85, -2 or 1e-3 is expected")
    return value


Number = Annotated[float, BeforeValidator(decimal_number), Field(allow_inf_nan=False)]
Tag = Annotated[str, StringConstraints(pattern=f"^{TAG_PATTERN.pattern}$")]


class Query(BaseModel):
    """A query string with no other keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which page of a listing."""

    limit: Annotated[int, BeforeValidator(whole_number)] = Field(
        default=PAGE, ge=1, le=LONGEST_PAGE, description="At most this many.", examples=[PAGE]
    )
    start: str | None = Field(
        default=None,
        pattern=r"^[!-~]{1,300}$",
        description="`next` of the page before; left out for the first page.",
    )


class HistoryQuery(PageQuery):
    """Which page of the ledger, and of when."""

    at: str | None = Field(
        default=None,
        max_length=40,
        description="A time with `Z` or an offset (write `+` as `%2B`). Entries up to then, and what was live then.",
        examples=["2026-11-21T10:00:00Z"],
    )


class MetricQuery(PageQuery):
    """Which page, and between which values of a metric."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_METRIC), AfterValidator(line_of_text)] | (
        None
    ) = Field(default=None, description="A metric's name, with `at_least`, `at_most` or both.", examples=["accuracy"])
    at_least: Number | None = Field(
        default=None, description="The metric is this or more; the highest comes first.", examples=[0.85]
    )
    at_most: Number | None = Field(
        default=None,
        description="The metric is this or less; without `at_least` the lowest comes first.",
        examples=[0.95],
    )

    def bounds(self) -> Bounds | None:
        """The bounds on a metric, when anything was said about one; the registry refuses half of them."""
        if self.metric is None and self.at_least is None and self.at_most is None:
            return None
        return Bounds(metric=self.metric or "", at_least=self.at_least, at_most=self.at_most)


class SearchQuery(MetricQuery):
    """Which page of the models, and which models."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_]{1,48}$",
        description="How the name begins, or one of the words in it.",
        examples=["weather"],
    )
    tag: list[Tag] = Field(
        default=[],
        max_length=MOST_TAGS,
        description="A tag that the model has; repeat it for one that has them all.",
        examples=[["weather"]],
    )
    owner: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=LONGEST_REASON, strip_whitespace=True),
            AfterValidator(line_of_text),
        ]
        | None
    ) = Field(default=None, description="The whole owner, in any case.", examples=["forecast-team"])
    task: Task | None = Field(default=None, description="What kind of answer it gives.", examples=["multiclass"])

    def search(self) -> Search | None:
        """What to search for; None when nothing but a page was asked for."""
        bounds = self.bounds()
        if bounds is None and self.name is None and self.owner is None and self.task is None and not self.tag:
            return None
        return Search(name=self.name or "", task=self.task, owner=self.owner, tags=tuple(self.tag), bounds=bounds)
