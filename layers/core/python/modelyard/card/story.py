"""Who made a version, who put it live, when and why: the ledger's lines about it, in sentences."""

from typing import NamedTuple

from modelyard.card.blocks import Block, Pairs, Paragraph
from modelyard.card.facts import Facts
from modelyard.deployment import LedgerEntry, shares_of
from modelyard.pages.words import NOT_RECORDED, Text, day, person, quiet, say, strong, when

MOST_LINES = 50


class Period(NamedTuple):
    """A time in which a version was the champion: from one line of the ledger to another; None is until now."""

    start: LedgerEntry
    end: LedgerEntry | None


def state(facts: Facts) -> str:
    """Its place in the deployment, in two or three words."""
    deployment, number = facts.deployment, facts.version.number
    if deployment is not None and deployment.champion == number:
        return "live"
    if deployment is not None and number in deployment.challengers:
        share = shares_of(deployment)[number]
        return f"on trial, {share} % of requests" if deployment.mode == "canary" else "on trial, unseen"
    return "not live"


def periods(facts: Facts) -> list[Period]:
    """When it was the champion, oldest first."""
    found: list[Period] = []
    for entry in facts.entries:
        if entry.kind not in {"promoted", "rolled_back"}:
            continue
        if entry.version == facts.version.number:
            found.append(Period(entry, None))
        elif found:
            found[-1] = Period(found[-1].start, entry)
    return found


def in_short(facts: Facts) -> Text:
    """Its state with since when, for a glance."""
    deployment, number, spans = facts.deployment, facts.version.number, periods(facts)
    if deployment is not None and deployment.champion == number:
        since = spans[-1].start if spans and spans[-1].end is None else None
        if since is None:
            return say("{}; since when is {}", strong("Live"), NOT_RECORDED)
        return say("{} since {}", strong("Live"), day(since.at))
    if deployment is not None and number in deployment.challengers:
        if deployment.mode == "canary":
            share = shares_of(deployment)[number]
            return say("{}: it answers {} % of the requests", strong("On trial"), str(share))
        return say("{}: it answers beside the live version, and nobody is shown its answers", strong("On trial"))
    last = spans[-1] if spans else None
    if last is not None and last.end is not None:
        return say("{}; it was, until {}", strong("Not live"), day(last.end.at))
    return say("{}{}", strong("Not live"), "; it never was" if facts.entries_complete else "")


def made(facts: Facts) -> Text:
    """When and by whom it was registered."""
    return say("{} by {}", day(facts.version.created_at), person(facts.version.author))


def blocks(facts: Facts) -> tuple[Block, ...]:
    """The section about it."""
    version, lineage = facts.version, facts.version.manifest.lineage
    how = "It was trained and registered" if lineage.source == "trained" else "It was brought and registered"
    said = say("{} by {} on {}", how, strong(person(version.author)), when(version.created_at))
    note = version.manifest.note.strip()
    said += say(", with the note “{}”.", note) if note else say(".")
    found: list[Block] = [Paragraph(said), Paragraph(_why_live(facts))]
    if not facts.entries_complete:
        text = "The ledger has grown long since; only its newest lines were looked at, so lines may be missing here."
        found.append(Paragraph(say(text), quiet=True))
    lines = tuple(
        (when(entry.at), _event(facts, entry) + _reason(facts, entry)) for entry in facts.entries[-MOST_LINES:]
    )
    return (*found, Pairs(lines)) if lines else tuple(found)


def _why_live(facts: Facts) -> Text:
    spans = periods(facts)
    if not spans:
        if facts.entries_complete:
            return say("It was never live.")
        return say("Whether it was live before is {} in the lines that were looked at.", NOT_RECORDED)
    last, again = spans[-1], " again" if len(spans) > 1 else ""
    reason = last.start.reason.strip()
    why = say(" The reason given: “{}”.", reason) if reason else say(" No reason was given.")
    if reason and reason in facts.version.manifest.note:
        why = say(" The reason given is in that note.")
    who, since = person(last.start.actor), when(last.start.at)
    if last.end is None:
        return say("{} put it live{} on {}, and it is live.", strong(who), again, since) + why
    said = "{} put it live{} on {}; it was live until {}."
    return say(said, strong(who), again, since, when(last.end.at)) + why


def _event(facts: Facts, entry: LedgerEntry) -> Text:
    """What a line of the ledger says happened, and by whom."""
    number, other, by = facts.version.number, f"version {entry.previous}", person(entry.actor)
    match entry.kind:
        case "registered":
            return say("registered by {}", by)
        case "promoted" if entry.version == number and entry.previous is None:
            return say("{} by {}, the first version to be so", strong("put live"), by)
        case "promoted" if entry.version == number:
            return say("{} by {}, in the place of {}", strong("put live"), by, other)
        case "promoted":
            return say("version {} was put live in its place by {}", str(entry.version), by)
        case "rolled_back" if entry.version == number:
            return say("{} again by {}, in the place of {}", strong("put live"), by, other)
        case "rolled_back":
            return say("taken back by {}; version {} was live again", by, str(entry.version))
        case "shadow_started":
            return say("put on trial, unseen, beside {}, by {}", other, by)
        case "canary_started":
            split = entry.details.get("split")
            share = f" for {split} % of the requests" if split else ""
            return say("put on trial{}, beside {}, by {}", share, other, by)
        case "split_started":
            part = (entry.details.get("shares") or {}).get(str(number))
            share = f" for {part} % of the requests" if part else ""
            return say("put on trial{}, beside {} and others, by {}", share, other, by)
        case "trial_ended":
            return say("taken off its trial by {}", by)
    return say("{} by {}", entry.kind.replace("_", " "), by)


def _reason(facts: Facts, entry: LedgerEntry) -> Text:
    """Why, unless the card has said it already."""
    reason = entry.reason.strip()
    if entry.kind == "registered" or (reason and reason in facts.version.manifest.note):
        return ()
    return say(": {}", quiet(f"“{reason}”")) if reason else say(" {}", quiet("(no reason was given)"))
