"""The model's data set: which accepted files are there to learn from, and which of them go together.

The rule: no file blocks the others. The registry lists every file that was accepted; learnt from are those whose bytes
are still in the bucket, that fit the plan of today and that agree with the files accepted before them. The others are
left out, and the run says which and why. So a deleted object version takes its rows out of the next model, a changed
plan leaves behind the files that lack its columns, and of two uploads that contradict each other (each was valid alone,
both arrived at once) the first accepted counts, in every run alike.

Of several files under one key the newest counts, in S3's order: who uploads a file again under its name corrects it. A
delete marker takes nothing out: the version below it is still there. Files are kept whole in memory; what cannot fit is
refused before it is read.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelyard.registry import DatasetFile, FrozenSet, Registry
from modelyard.retraining.bounds import file_name, short
from modelyard.retraining.workbench import UploadStore, Workbench
from modelyard.training.plan import Plan
from modelyard.training.table import Reading, UploadCheck, check_upload, findings_of_file, read_table

READERS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A file to learn from: its name in findings, its bytes, and its line in the registry once it is accepted."""

    name: str
    content: bytes
    file: DatasetFile | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not learnt from; ``findings`` say why."""

    name: str
    findings: tuple[str, ...]
    file: DatasetFile | None = None

    @property
    def remark(self) -> str:
        """One sentence for a run."""
        return f"{self.name} is left out: {self.findings[0].removeprefix(f'{self.name}: ')}"


def fetch(workbench: Workbench, files: Sequence[DatasetFile]) -> tuple[list[Part], list[LeftOut]]:
    """Read accepted files; those that are gone, or have other bytes than when they were accepted, are left out."""

    def read(file: DatasetFile) -> bytes | None:
        return workbench.uploads.get(file.key, file.version_id)

    with ThreadPoolExecutor(READERS) as pool:
        contents = list(pool.map(read, files))
    parts: list[Part] = []
    left: list[LeftOut] = []
    for file, name, content in zip(files, _names(files), contents, strict=True):
        if content is None:
            left.append(LeftOut(name, ("its object version is gone from the bucket",), file))
        elif hashlib.sha256(content).hexdigest() != file.sha256:
            left.append(LeftOut(name, ("its object version has other bytes than when it was accepted",), file))
        else:
            parts.append(Part(name, content, file))
    return parts, left


def _names(files: Sequence[DatasetFile]) -> list[str]:
    """File names, with the time of acceptance where a name is there twice."""
    plain = [file_name(file.key) for file in files]
    count = Counter(plain)
    return [name if count[name] == 1 else f"{name} of {file.at[:19]}" for name, file in zip(plain, files, strict=True)]


def newest(uploads: UploadStore, files: Sequence[DatasetFile]) -> tuple[list[DatasetFile], list[LeftOut]]:
    """Of several accepted versions of one key the one that was stored last; the others are left out.

    Events come in any order, so the order of acceptance says nothing; S3 knows in which order versions were stored. An
    accepted version that is not there any more comes last, and then the order of acceptance decides.
    """
    versions: dict[str, list[DatasetFile]] = {}
    for file in files:
        versions.setdefault(file.key, []).append(file)
    superseded: dict[int, str] = {}
    for key, found in versions.items():
        if len(found) == 1:
            continue
        order = {version_id: -place for place, version_id in enumerate(uploads.versions(key))}
        oldest = -len(order)
        kept = max(found, key=lambda file: (order.get(file.version_id, oldest), file.at, file.sha256))
        superseded |= {id(file): kept.version_id for file in found if file is not kept}
    names = dict(zip(map(id, files), _names(files), strict=True))
    left = [
        LeftOut(names[id(file)], (f"a newer file has the same name (version {superseded[id(file)]})",), file)
        for file in files
        if id(file) in superseded
    ]
    return [file for file in files if id(file) not in superseded], left


@dataclass(frozen=True, slots=True)
class Agreed:
    """Files that can be learnt from together, and what came of reading them: nobody has to read them again."""

    parts: list[Part]
    reading: Reading


def agree(plan: Plan, parts: Sequence[Part]) -> tuple[Agreed, list[LeftOut]]:
    """The files that can be learnt from together, in their order, and the others with the reason.

    A function of its arguments, so that every run comes to the same set. Usually one reading; each file that does not
    go with the others costs as many more as halving takes to find it. What was read on the way is not kept: two tables
    of everything may be more than there is memory.
    """
    together = _read(plan, parts)
    if not parts or not together.findings:
        return Agreed(list(parts), together), []
    left = {
        id(part): LeftOut(part.name, findings, part.file)
        for part in parts
        if (findings := findings_of_file(plan, part.content, name=part.name))
    }
    kept = _added(plan, [], [part for part in parts if id(part) not in left], left)
    for part in parts:  # a file of one class only may fit now that there are others
        if id(part) in left and not findings_of_file(plan, part.content, name=part.name):
            kept = _added(plan, kept, [part], left)
    ids = {id(part) for part in kept}
    chosen = [part for part in parts if id(part) in ids]
    return Agreed(chosen, _read(plan, chosen)), [left[id(part)] for part in parts if id(part) not in ids]


def _added(plan: Plan, kept: list[Part], block: list[Part], left: dict[int, LeftOut]) -> list[Part]:
    """``kept`` and what of ``block`` goes with it, one after the other; the rest into ``left``."""
    if not block:
        return kept
    findings = _read(plan, [*kept, *block]).findings
    if not findings:
        return [*kept, *block]
    if len(block) == 1:
        left[id(block[0])] = LeftOut(block[0].name, findings, block[0].file)
        return kept
    middle = len(block) // 2
    return _added(plan, _added(plan, kept, block[:middle], left), block[middle:], left)


def _read(plan: Plan, parts: Sequence[Part]) -> Reading:
    return read_table(plan, [part.content for part in parts], names=[part.name for part in parts])


def check_new(
    plan: Plan, new: Part, others: Sequence[Part], *, minimum_rows: int = 1
) -> tuple[UploadCheck, list[LeftOut]]:
    """Whether an upload fits the plan and the files accepted before it; and which of those are not learnt from.

    Args:
        plan: What is trained.
        new: The upload; with its line when an earlier attempt had it accepted: its place among the others counts then.
        others: The accepted files with other bytes, in the order of acceptance.
        minimum_rows: What the upload must have at least.
    """
    check = _check(plan, new, others, minimum_rows)
    if check.valid:
        return check, []
    place = len(others) if new.file is None else sum(_at(other) < _at(new) for other in others)
    _, left = agree(plan, [*others[:place], new, *others[place:]])
    gone = {id(found.file) for found in left if found.file is not new.file}
    if not gone:
        return check, []
    agreeing = [other for other in others if id(other.file) not in gone]
    return _check(plan, new, agreeing, minimum_rows), [found for found in left if found.file is not new.file]


def _check(plan: Plan, new: Part, others: Sequence[Part], minimum_rows: int) -> UploadCheck:
    contents, names = [other.content for other in others], [other.name for other in others]
    return check_upload(plan, new.content, name=new.name, earlier=contents, names=names, minimum_rows=minimum_rows)


def _at(part: Part) -> tuple[str, str]:
    """The place of an accepted file: as the registry sorts them."""
    return ("", "") if part.file is None else (part.file.at, part.file.sha256)


def standing_set(registry: Registry, model: str) -> FrozenSet | None:
    """The evaluation set that the next training is measured on.

    None where that training chooses one: there is none yet, no version was measured on it, or somebody asked for
    another. Its rows may then well be learnt from.
    """
    current = registry.evaluation_set(model)
    if current is None or not registry.has_versions(model) or registry.refresh_request(model) is not None:
        return None
    return current


def too_large(workbench: Workbench, sizes: Iterable[int], *, memory_per_byte: int) -> str | None:
    """Why files of these sizes cannot be worked on here, as a finding; None when they may fit."""
    needed = sum(sizes) * memory_per_byte / 2**20
    if workbench.memory_mb is None or needed <= workbench.memory_mb:
        return None
    most = workbench.memory_mb / memory_per_byte
    return (
        f"the training files have {needed / memory_per_byte:,.1f} MB together; with {workbench.memory_mb:,} MB of "
        f"memory this step takes {most:,.1f} MB at most"
    )


def remarks_on(left: Sequence[LeftOut]) -> list[str]:
    """What a run says about files that it does not learn from."""
    return [short(found.remark) for found in left]
