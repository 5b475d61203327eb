"""What a card is made of, whatever it is shown as: sections of blocks, blocks of text."""

import msgspec

from modelyard.pages.words import Text


class Paragraph(msgspec.Struct, frozen=True):
    """One or a few sentences; ``quiet`` is what explains the rest."""

    text: Text
    quiet: bool = False


class Bullets(msgspec.Struct, frozen=True):
    """Sentences that do not depend on each other."""

    items: tuple[Text, ...]


class Pairs(msgspec.Struct, frozen=True):
    """Values under their names."""

    rows: tuple[tuple[str, Text], ...]


class Table(msgspec.Struct, frozen=True):
    """Rows under headings; a heading may be empty."""

    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]


class Hundred(msgspec.Struct, frozen=True):
    """A share as so many of a hundred dots; a picture only: the sentence beside it says the same."""

    filled: int
    label: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the picture of versions."""

    version: int
    value: float
    live: bool
    this: bool


class Course(msgspec.Struct, frozen=True):
    """One metric over a model's versions, oldest first; a table where there are no pictures.

    ``rival`` is the version before this one with its value on the rows of this one, which is the fair comparison.
    """

    metric: str
    lower_is_better: bool
    points: tuple[Point, ...]
    rival: tuple[int, float] | None = None


class Owners(msgspec.Struct, frozen=True):
    """The owner's own words, in Markdown, with who wrote them and when: the only text that is not ours."""

    markdown: str
    by: str
    at: str


Block = Paragraph | Bullets | Pairs | Table | Hundred | Course | Owners


class Section(msgspec.Struct, frozen=True):
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]
