"""From the model's data set to a training job: which rows are learnt from, and which rows judge.

The rule: what happens after this is a function of the job's files. The step reads the accepted files once, leaves out
those that cannot be learnt from, freezes the evaluation set if there is none yet (or another was asked for), and writes
rows to learn from, rows to be answered, and a record of all that a report has to say about them.

Where the same rows, plan and champion were learnt from before, nothing is trained: it would come to the same.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from modelyard.contract.document import to_json
from modelyard.errors import UsageError
from modelyard.registry import DatasetFile, FrozenSet, Learnt
from modelyard.retraining.bounds import file_name, listed, short
from modelyard.retraining.dataset import LeftOut, Part, agree, fetch, newest, remarks_on, standing_set, too_large
from modelyard.retraining.placing import CHECKING, place
from modelyard.retraining.profile import profile
from modelyard.retraining.reports import Ending, Prepared, began, file_of, read_document
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import leave, leave_job, read
from modelyard.training.contract import contract_of
from modelyard.training.freezing import FrozenRows, Mask, are_among, are_frozen, choose, in_words
from modelyard.training.job import write_rows
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.records import read_records
from modelyard.training.table import Table, table_of

REFUSALS = frozenset({"invalid_training_data", "too_few_rows", "invalid_contract"})
"""What the data is to blame for: the run ends as a rejection, in words, and not as a failure of the machinery."""


def prepare_rows(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Make the job of a run.

    Args:
        workbench: Registry, data bucket, artifact bucket.
        event: ``claim``, ``validation`` (None where no file started the run) as those steps answered; ``plan``;
            ``run_id``.

    Returns:
        ``status``: ``prepared``, ``refused`` or ``unchanged``; ``reason``, unless prepared. When prepared also
        ``job``, the folder of the job; ``record_key``; ``digest``, of what is learnt from; ``where``, lambda or
        sagemaker, and ``why_there``; ``rows`` and ``files``, how many; ``remarks``; ``ablation``, the folder of the job
        without the newest file where that was asked for, else None.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    trigger = event["claim"]["trigger"]
    try:
        return _prepare(workbench, plan, run_id, event, trigger)
    except UsageError as refusal:
        if refusal.code not in REFUSALS:
            raise
        return _refused(workbench, plan, run_id, event, refusal.message)


def _prepare(
    workbench: Workbench, plan: Plan, run_id: str, event: dict[str, Any], trigger: dict[str, Any]
) -> dict[str, Any]:
    files, superseded = newest(workbench.uploads, workbench.registry.dataset_files(plan.model))
    if not files:
        raise UsageError("the data set is empty: no training file was accepted yet", code="too_few_rows")
    large = too_large(workbench, (file.size for file in files), memory_per_byte=CHECKING)
    if large:
        raise UsageError(large, code="invalid_training_data")
    parts, gone = _parts(workbench, files, event)
    agreed, disagreeing = agree(plan, parts)
    parts, reading = agreed.parts, agreed.reading
    left = [*superseded, *gone, *disagreeing]
    _refuse_without_own(files, parts, [*gone, *disagreeing], (event.get("validation") or {}).get("sha256"))
    table = reading.table
    if table is None:
        raise UsageError("\n".join(reading.findings), code="invalid_training_data")
    contract = to_json(contract_of(plan, table))  # it may refuse: before anything is frozen
    deployment = workbench.registry.deployment(plan.model)
    champion = None if deployment is None else deployment.champion
    frozen_set, frozen, among = _frozen(workbench, plan, run_id, table, parts, champion)
    judging = _judging(plan, frozen_set, frozen)
    training = table.take(~among)
    _check_sides(plan, training)
    rows, questions = write_rows(plan, training), write_rows(plan, judging, without_target=True)
    digest = digest_of_rows(plan, rows, questions)
    learnt = _digest_of_all(digest)
    before = workbench.registry.learnt(plan.model, learnt)
    again = bool(trigger.get("again"))
    if before is not None and before.run_id != run_id and not again and _still_holds(before, champion):
        reason = f"nothing new to learn: run {before.run_id} learnt from the same rows and ended {before.status}"
        return {"status": "unchanged", "reason": short(f"{reason}: {before.reason}")}
    chosen = place(plan, len(rows), has_sagemaker=workbench.has_sagemaker)
    if chosen.where is None:
        raise UsageError(chosen.why, code="invalid_training_data")
    remarks = [*remarks_on(left), *reading.remarks]
    read_rows = sum(reading.rows)
    counts = {
        "read": read_rows,
        "duplicates": read_rows - len(table),
        "training": len(training),
        "evaluation": len(judging),
    }
    record = Prepared(
        trigger=trigger,
        files=[_line(part.file) for part in parts if part.file is not None],
        left_out=remarks_on(left),
        remarks=list(reading.remarks),
        row_counts=counts,
        profile=profile(plan, training, judging),
        contract=contract,
        evaluation_set=_described(frozen_set),
        evaluation_key=frozen_set.key,
        where=chosen.where,
        why_there=chosen.why,
        digest=digest,
    )
    folder = leave_job(workbench, plan, run_id, training=rows, evaluation=questions)
    return {
        "status": "prepared",
        "reason": "",
        "job": folder,
        "record_key": leave(workbench, f"{folder}/record.json", msgspec.json.encode(record)),
        "digest": learnt,
        "where": chosen.where,
        "why_there": short(chosen.why),
        "rows": counts,
        "files": len(parts),
        "remarks": listed(remarks),
        "ablation": _without_newest(workbench, plan, run_id, training, parts, questions)
        if trigger.get("ablate")
        else None,
    }


def _refuse_without_own(
    files: Sequence[DatasetFile], parts: Sequence[Part], left: Sequence[LeftOut], own: str | None
) -> None:
    """Refuse a run whose own file is left out; unless later files are there, of runs that were merged into it.

    A file that a newer one of its name replaced is no reason: that one is learnt from.

    Raises:
        UsageError: With what is wrong with the run's own file.
    """
    order = {file.sha256: place for place, file in enumerate(files)}
    for found in left:
        if own is None or found.file is None or found.file.sha256 != own:
            continue
        if not any(part.file is not None and order.get(part.file.sha256, -1) > order[own] for part in parts):
            raise UsageError(found.remark, code="invalid_training_data")


def _parts(
    workbench: Workbench, files: Sequence[DatasetFile], event: dict[str, Any]
) -> tuple[list[Part], list[LeftOut]]:
    """The bytes of the data set. This run's own file may be a second upload of bytes whose first is gone by now."""
    parts, gone = fetch(workbench, files)
    upload, sha256 = event["claim"].get("object"), (event.get("validation") or {}).get("sha256")
    own = next((found.file for found in gone if found.file is not None and found.file.sha256 == sha256), None)
    content = None if own is None or upload is None else workbench.uploads.get(upload["key"], upload["version_id"])
    if own is None or upload is None or content is None or hashlib.sha256(content).hexdigest() != sha256:
        return parts, gone
    again = msgspec.structs.replace(own, bucket=upload["bucket"], key=upload["key"], version_id=upload["version_id"])
    parts.append(Part(file_name(again.key), content, again))
    order = {file.sha256: place for place, file in enumerate(files)}
    parts.sort(key=lambda part: order[part.file.sha256] if part.file else len(order))
    return parts, [found for found in gone if found.file is not own]


def _frozen(
    workbench: Workbench, plan: Plan, run_id: str, table: Table, parts: Sequence[Part], champion: int | None
) -> tuple[FrozenSet, FrozenRows, Mask]:
    """The evaluation set in force, and which rows are frozen: the first is chosen now, so is one that was asked for.

    Until a version was measured on it, a set is chosen anew: the first file that comes may be the smallest.
    """
    registry = workbench.registry
    standing = standing_set(registry, plan.model)
    if standing is not None:
        return _known(workbench, plan, table, standing)
    current = registry.evaluation_set(plan.model)
    allowed = None if current is None else _unseen(workbench, plan, table, parts, champion)
    rows = FrozenRows.of(table.take(choose(plan, table, allowed=allowed)))
    among = are_frozen(plan, table, rows)
    _check_sides(plan, table.take(~among))  # it may refuse: before anything is frozen
    content = rows.to_csv()
    sha256 = hashlib.sha256(content).hexdigest()
    key = leave(workbench, f"evaluation_sets/{plan.model}/{sha256}.csv", content)
    if current is not None and current.key == key and not registry.has_versions(plan.model):
        return current, rows, among
    frozen = registry.freeze_evaluation_set(
        plan.model,
        number=1 if current is None else current.number + 1,
        key=key,
        sha256=sha256,
        rows=len(rows.rows),
        rule=in_words(plan),
        run_id=run_id,
    )
    return (frozen, rows, among) if frozen.key == key else _known(workbench, plan, table, frozen)


def _known(workbench: Workbench, plan: Plan, table: Table, frozen: FrozenSet) -> tuple[FrozenSet, FrozenRows, Mask]:
    rows = FrozenRows.from_csv(read(workbench, frozen.key))
    return frozen, rows, are_frozen(plan, table, rows)


def _unseen(workbench: Workbench, plan: Plan, table: Table, parts: Sequence[Part], champion: int | None) -> Mask | None:
    """Which rows the live version has not trained on: only they can judge it beside a challenger."""
    if champion is None:
        return None
    manifest = workbench.registry.version(plan.model, champion).manifest
    if manifest.lineage.source != "trained":
        return None  # brought from elsewhere: nobody knows what it was trained on
    report = None if manifest.evaluation is None else read_document(workbench, manifest.evaluation)
    report = report or {}
    # Its report lists all files; the manifest, which is never gone, the newest.
    learnt = report.get("files") or msgspec.to_builtins(manifest.lineage.objects)
    seen = are_among(plan, table, _rows_of(workbench, learnt, parts))
    number = int((report.get("evaluation_set") or {}).get("number") or 0)
    judged = workbench.registry.evaluation_set_numbered(plan.model, number) if number else None
    if judged is None:
        return ~seen
    return ~seen | are_frozen(plan, table, FrozenRows.from_csv(read(workbench, judged.key)))


def _rows_of(workbench: Workbench, learnt: Sequence[dict[str, Any]], parts: Sequence[Part]) -> FrozenRows:
    """All rows of the files that a version learnt from; those that were replaced since too, while they are there."""
    contents = {part.file.sha256: part.content for part in parts if part.file is not None}
    records = []
    for file in learnt:
        content = contents.get(file["sha256"]) or workbench.uploads.get(file["key"], file["version_id"])
        if content is not None:
            records.append(read_records(content, name=file["key"], expected=()))
    return FrozenRows.of_files(records)


def _judging(plan: Plan, frozen_set: FrozenSet, frozen: FrozenRows) -> Table:
    """The frozen rows as typed columns.

    Raises:
        UsageError: When the plan of today needs what they do not have.
    """
    try:
        return table_of(plan, frozen.to_csv(), name=f"evaluation set {frozen_set.number}")
    except UsageError as problem:
        raise UsageError(
            f"{problem.message}; the rows were frozen at {frozen_set.at}, before model.toml asked for this: freeze "
            f"others with 'modelyard dataset {plan.model} --refresh-evaluation --reason ...'",
            code="invalid_training_data",
        ) from problem


def _check_sides(plan: Plan, training: Table) -> None:
    target = training.target
    if len(target) < 2:
        problem = f"{len(target)} rows are left to train on; at least 2 are needed"
    elif plan.classification and len(set(target.tolist())) == 1:
        problem = f"all {len(target)} rows to train on are of class {target[0]!r}; the others are frozen for evaluation"
    else:
        return
    raise UsageError(problem, code="too_few_rows")


def _digest_of_all(rows: str) -> str:
    """Names all that an outcome depends on: beside the rows the code that trains, and its libraries."""
    parts = [rows, *(os.environ.get(name, "") for name in ("MODELYARD_CODE_DIGEST", "MODELYARD_LOCK_DIGEST"))]
    return hashlib.sha256("\n".join([*parts, os.environ.get("MODELYARD_OWN_DIGEST", "")]).encode()).hexdigest()


def digest_of_rows(plan: Plan, rows: bytes, questions: bytes) -> str:
    """Names what a training learns from, and how: the plan counts, but for what starts a run and who owns the model."""
    relevant = msgspec.structs.replace(plan, triggers=(), about=None, automatic=True)
    digest = hashlib.sha256()
    for part in (msgspec.json.encode(relevant, order="sorted"), rows, questions):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _still_holds(before: Learnt, champion: int | None) -> bool:
    """Whether what an earlier run came to is what another would come to now."""
    return champion in (before.champion, before.version) if before.status == "promoted" else champion == before.champion


def _line(file: DatasetFile) -> dict[str, Any]:
    return {
        "bucket": file.bucket,
        "key": file.key,
        "version_id": file.version_id,
        "sha256": file.sha256,
        "rows": file.rows,
    }


def _described(frozen: FrozenSet) -> dict[str, Any]:
    return {
        "number": frozen.number,
        "sha256": frozen.sha256,
        "rows": frozen.rows,
        "rule": frozen.rule,
        "frozen_at": frozen.at,
    }


def _without_newest(
    workbench: Workbench, plan: Plan, run_id: str, training: Table, parts: Sequence[Part], questions: bytes
) -> dict[str, Any] | None:
    """The job without the file that was accepted last; None where it is the only one."""
    without = training.take(training.files != len(parts) - 1)
    if len(parts) < 2 or len(without) in (0, len(training)):
        return None
    folder = leave_job(workbench, plan, run_id, training=write_rows(plan, without), evaluation=questions)
    return {"job": folder, "file": parts[-1].name, "rows": len(training) - len(without)}


def _refused(workbench: Workbench, plan: Plan, run_id: str, event: dict[str, Any], reason: str) -> dict[str, Any]:
    document = Ending(
        model=plan.model,
        run_id=run_id,
        reason=reason,
        plan=msgspec.to_builtins(plan),
        step="prepare",
        trigger=event["claim"]["trigger"],
        files=file_of(event["claim"], event.get("validation")),
        created_at=began(workbench, plan.model, run_id),
    )
    return {"status": "refused", "reason": short(reason), "report_key": document.leave(workbench)}
