"""What a version cannot do or was never shown, as far as it is known: derived from facts, never guessed."""

from collections.abc import Iterator

from modelyard.card.answers import by_share, classes_of, fields_of, has_own_code, named
from modelyard.card.facts import Facts
from modelyard.card.quality import deciding_metric
from modelyard.pages.words import NOT_RECORDED, Text, code, count, day, is_better, say, strong

FEW_ROWS = 200
"""With fewer held-out rows, 80 right of 100 may as well be 74 or 85: the half-width of the interval is over 5."""
MOST_COLUMNS = 20


def of(facts: Facts) -> Iterator[Text]:
    """One sentence or two for each limit."""
    yield from _about_the_measure(facts)
    yield from _about_what_it_saw(facts)
    yield from _about_the_form(facts)


def _about_the_measure(facts: Facts) -> Iterator[Text]:
    manifest, report = facts.version.manifest, facts.report
    if facts.report_problem:
        why = "is not in the artifact bucket any more" if facts.report_problem == "gone" else "cannot be read"
        yield say("Its evaluation report {}, so what is said here of its quality is only what the version holds.", why)
    if not manifest.metrics:
        yield say("How good it is was never recorded. {}", strong("Try it on cases whose answer is known."))
        return
    if report is None:
        yield say("On how many rows it was measured is {}.", NOT_RECORDED)
        return
    if report.rows < FEW_ROWS:
        said = "It was measured on {} only: its numbers are rough, and rare cases may not be among those rows at all."
        yield say(said, strong(count(report.rows, "row")))
    name = deciding_metric(facts)
    one, two = (report.score(side, name or "") for side in ("challenger", "baseline"))
    if name and one is not None and two is not None and is_better(name, one, two) is False:
        yield say("{} By the measure that decides, it is worse than answering without learning.", strong("Poor."))


def _about_what_it_saw(facts: Facts) -> Iterator[Text]:
    manifest = facts.version.manifest
    classes = classes_of(manifest.signature)
    if classes is not None:
        yield say("It knows {} only. A case of another kind is answered with one of these.", named(classes))
    if manifest.contract is None:
        yield say(
            "It has no data contract: which values it saw is {}, and values far from them are answered without a "
            "warning.",
            NOT_RECORDED,
        )
    fields = fields_of(manifest)
    for tensor in manifest.signature.inputs[:MOST_COLUMNS]:
        categories = fields[tensor.name].categories if tensor.name in fields else None
        if categories:
            names = tuple(name for name, _ in by_share(categories))
            yield say("Of {} it saw {} only.", code(tensor.name), named(names))
    accepted = [facts.accepted[found.sha256] for found in manifest.lineage.objects if found.sha256 in facts.accepted]
    if accepted:
        said = "It learnt from files that were accepted up to {}. What changed in the world since, it does not know."
        yield say(said, day(max(accepted)))
    if manifest.lineage.source == "brought":
        yield say("Where it comes from and what it learnt from cannot be traced here: it was brought as a file.")


def _about_the_form(facts: Facts) -> Iterator[Text]:
    manifest = facts.version.manifest
    batch = next((tensor.shape[0] for tensor in manifest.signature.inputs if tensor.shape[0] is not None), None)
    if batch is not None:
        yield say("It answers exactly {} at a time, neither more nor fewer.", count(batch, "row"))
    if has_own_code(manifest):
        yield say("Its answers depend on code beside the file. The version holds the code's digest, not the code.")
