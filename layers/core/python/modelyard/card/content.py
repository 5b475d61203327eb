"""Second stage: from facts to what is said, in blocks that every format can show. Pure.

This module holds the order of the sections and the short ones; the longer ones are ``answers``, ``quality``, ``story``
and ``limits``.
"""

import msgspec

from modelyard.card import answers, limits, quality, story
from modelyard.card.blocks import Block, Bullets, Owners, Pairs, Paragraph, Section, Table
from modelyard.card.facts import Facts
from modelyard.contract.signatures import show_shape
from modelyard.pages.words import (
    NOT_RECORDED,
    Text,
    code,
    count,
    day,
    estimator,
    listing,
    one_line,
    person,
    quiet,
    say,
    strong,
    when,
)
from modelyard.version import TrainingObject

MOST_FILES = 30
MOST_REMARKS = 20


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a card says.

    Attributes:
        model: The model's name.
        version: Which version of it.
        state: Its place in the deployment, in two or three words.
        about: What its ``model.toml`` says it is for.
        glance: What a hurried reader needs.
        sections: The rest.
        at: The time of which all this is true.
    """

    model: str
    version: int
    state: str
    about: Text
    glance: Pairs
    sections: tuple[Section, ...]
    at: str


def card_of(facts: Facts) -> Card:
    """Decide what is said."""
    before = "the version before" if facts.before is None else f"version {facts.before.number}"
    sections = (
        Section("What it answers", answers.blocks(facts.version.manifest)),
        Section("How good it is", quality.blocks(facts)),
        Section(f"Compared with {before}", quality.against_before(facts)),
        Section("Version by version", quality.course(facts)),
        Section("What it learnt from", _learnt_from(facts)),
        Section("Who made it, and what happened since", story.blocks(facts)),
        Section("Known limits", (Bullets(tuple(limits.of(facts))),)),
        Section("Notes of the owner", _notes(facts)),
        Section("For engineers", _details(facts)),
    )
    description = facts.model.description.strip()
    return Card(
        model=facts.version.manifest.model,
        version=facts.version.number,
        state=story.state(facts),
        about=say("{}", description) if description else (),
        glance=_glance(facts),
        sections=tuple(section for section in sections if section.blocks),
        at=when(facts.at),
    )


def _glance(facts: Facts) -> Pairs:
    rows = [
        ("State", story.in_short(facts)),
        ("How good", quality.in_short(facts)),
        ("Learnt from", _rows_learnt_from(facts)),
        ("Made", story.made(facts)),
    ]
    if facts.model.owner.strip():
        rows.append(("Owner", say("{}", facts.model.owner.strip())))
    if facts.model.tags:
        rows.append(("Tags", say("{}", ", ".join(facts.model.tags))))
    return Pairs(tuple(rows))


def _rows_learnt_from(facts: Facts) -> Text:
    objects = _objects(facts)
    if objects:
        learnt = facts.report.training.rows.training if facts.report and facts.report.training.rows else None
        rows = sum(found.rows for found in objects) if learnt is None else learnt
        return say("{} of {}", strong(count(rows, "row")), count(len(objects), "file"))
    if facts.version.manifest.lineage.source == "brought":
        return say("{}: it was brought as a file", NOT_RECORDED)
    return say("{}", NOT_RECORDED)


def _objects(facts: Facts) -> tuple[TrainingObject, ...]:
    """The training files; the report has all where the manifest had no room."""
    listed = facts.version.manifest.lineage.objects
    reported = facts.report.training.objects if facts.report else ()
    return reported if len(reported) > len(listed) else listed


def _learnt_from(facts: Facts) -> tuple[Block, ...]:
    lineage = facts.version.manifest.lineage
    trained = facts.report.training if facts.report else None
    objects = _objects(facts)
    found: list[Block] = []
    if lineage.source == "brought":
        said = say("It was brought as a finished file. What it learnt from is {}.", NOT_RECORDED)
        if lineage.imported_from:
            said += say(" It was imported from {}.", code(lineage.imported_from))
        found.append(Paragraph(said))
    elif not objects:
        found.append(Paragraph(say("Its training files are {}.", NOT_RECORDED)))
    if trained and trained.rows:
        rows = trained.rows
        said = say("Its files hold {}", count(rows.read, "row"))
        if rows.duplicates:
            said += say(", {} of them twice", f"{rows.duplicates:,}")
        said += say(
            ". It learnt from {} of them; {} were held back, and it was measured on those.",
            strong(f"{rows.training:,}"),
            f"{rows.evaluation:,}",
        )
        found.append(Paragraph(said))
    if trained and trained.candidate:
        chosen = ", ".join(f"{name} {value}" for name, value in trained.settings.items())
        tried = sum(line.candidate != "baseline" for line in trained.leaderboard)
        best = f", the best of {tried:,} that were tried" if tried > 1 else ""
        kind = strong(estimator(trained.candidate))
        found.append(Paragraph(say("It is a {}{}{}.", kind, f" ({chosen})" if chosen else "", best)))
    if objects:
        found.append(_files(facts, objects[-MOST_FILES:]))
    if len(objects) > MOST_FILES:
        older = count(len(objects) - MOST_FILES, "older file")
        found.append(Paragraph(say("And {}.", older), quiet=True))
    if trained and trained.remarks:
        found.append(Paragraph(say("What was noticed while the files were read:")))
        found.append(Bullets(tuple(say("{}", remark) for remark in trained.remarks[:MOST_REMARKS])))
    if lineage.params:
        rows_ = tuple((say("{}", code(name)), say("{}", value)) for name, value in sorted(lineage.params.items()))
        found.append(Table(("Parameter of its training", "Value"), rows_))
    return tuple(found)


def _files(facts: Facts, objects: tuple[TrainingObject, ...]) -> Table:
    rows = tuple(
        (
            say("{}", code(found.key.rsplit("/", 1)[-1])),
            say("{}", f"{found.rows:,}"),
            say("{}", day(facts.accepted[found.sha256]) if found.sha256 in facts.accepted else quiet(NOT_RECORDED)),
        )
        for found in objects
    )
    return Table(("File", "Rows", "Accepted on"), rows)


def _notes(facts: Facts) -> tuple[Block, ...]:
    notes = facts.notes
    if notes is None or not notes.text.strip():
        return (Paragraph(say("None were written."), quiet=True),)
    return (Owners(notes.text, one_line(person(notes.by)), when(notes.at)),)


def _details(facts: Facts) -> tuple[Block, ...]:
    manifest, lineage = facts.version.manifest, facts.version.manifest.lineage
    outputs = listing(
        [
            say("{} {} {}", code(found.name), found.dtype, show_shape(found.shape))
            for found in manifest.signature.outputs
        ]
    )
    rows: list[tuple[str, Text]] = [
        ("SHA-256 of the file", say("{}", code(manifest.digest))),
        ("Size", say("{} bytes", f"{manifest.size:,}")),
        ("Task", say("{}", manifest.task)),
        ("Outputs", outputs),
    ]
    for name, value in (
        ("Evaluation report", manifest.evaluation),
        ("Digest of the code", lineage.code_digest),
        ("Digest of the locks", lineage.lock_digest),
        ("Run", lineage.run_id),
        ("Execution", lineage.execution),
        ("Registered by", facts.version.author),
    ):
        rows.append((name, say("{}", code(value) if value else quiet(NOT_RECORDED))))
    return (Pairs(tuple(rows)),)
