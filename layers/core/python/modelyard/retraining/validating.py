"""Is an uploaded file usable? What is wrong with it is said in words; what is right joins the model's data set.

Nothing here needs more than the standard library and numpy.
"""

import hashlib
from typing import Any

import numpy as np

from modelyard.contract.document import parse
from modelyard.errors import ModelyardError, UsageError
from modelyard.registry import DatasetFile, Run
from modelyard.retraining.bounds import file_name, listed, short
from modelyard.retraining.dataset import Part, check_new, fetch, newest, remarks_on, standing_set, too_large
from modelyard.retraining.placing import CHECKING
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import read
from modelyard.training.contract import remarks_on_upload
from modelyard.training.freezing import FrozenRows, are_frozen
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.records import read_records
from modelyard.training.table import Table, findings_of_file

FINISHED = frozenset({"promoted", "registered", "rejected"})


def validate_upload(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Check the claimed file against the plan, in words, and add it to the model's data set.

    Files that were accepted before do not stand in its way: see `modelyard.retraining.dataset`.

    Args:
        workbench: Registry and data bucket.
        event: ``claim`` as that step answered; ``plan``; ``run_id``.

    Returns:
        ``status``: ``valid``, ``invalid`` or ``duplicate`` (these bytes were learnt from before); ``findings``;
        ``remarks``; ``rows``; ``sha256``; ``reason``.
    """
    plan, run_id, claim = decode_plan(event["plan"]), event["run_id"], event["claim"]
    found = claim["object"]
    registry, name = workbench.registry, file_name(found["key"])
    large = too_large(workbench, [found["size"]], memory_per_byte=CHECKING)
    if large:
        return _verdict("invalid", findings=(f"{name}: {large}",))
    content = workbench.uploads.get(found["key"], found["version_id"])
    if content is None:
        return _verdict("invalid", findings=(f"{name}: is gone: it was deleted before it was read",))
    sha256 = hashlib.sha256(content).hexdigest()
    accepted = registry.dataset_files(plan.model)
    in_force, replaced = newest(workbench.uploads, accepted)
    line = next((file for file in in_force if file.sha256 == sha256), None)
    before = None if line is None or line.run_id == run_id else _run_that_learnt(workbench, line)
    if line is not None and before is not None:
        reason = f"run {before.run_id} learnt from these bytes before and ended {before.status}"
        return _verdict("duplicate", rows=line.rows, sha256=sha256, reason=reason)
    # By itself first: what is wrong with this file is then said without a word about the others, and early.
    findings = findings_of_file(plan, content, name=name)
    if findings:
        return _verdict("invalid", findings=findings, sha256=sha256)
    # An earlier file of the same name is replaced by this one: they need not agree.
    others = [file for file in in_force if file.sha256 != sha256 and file.key != found["key"]]
    large = too_large(workbench, [len(content), *(file.size for file in others)], memory_per_byte=CHECKING)
    if large:
        return _verdict("invalid", findings=(f"{name}: {large}",), sha256=sha256)
    parts, gone = fetch(workbench, others)
    check, left = check_new(plan, Part(name, content, line), parts, minimum_rows=_minimum_rows(plan, claim))
    findings = check.findings
    remarks = [*remarks_on([*gone, *left]), *check.remarks, *_unlike_the_live(workbench, plan, content, name)]
    if check.valid:
        frozen, rows = _frozen_among(workbench, plan, content, name)
        if frozen and frozen == rows:
            findings = (f"{name}: all {rows:,} rows are frozen for evaluation; there is nothing to learn from them",)
        elif frozen:
            remarks.append(f"{name}: {frozen:,} of {rows:,} rows are frozen for evaluation: not learnt from")
    if findings:
        return _verdict("invalid", findings=findings, remarks=tuple(remarks), rows=check.rows, sha256=sha256)
    registry.add_dataset_file(
        plan.model,
        bucket=found["bucket"],
        key=found["key"],
        version_id=found["version_id"],
        sha256=sha256,
        rows=check.rows,
        size=len(content),
        run_id=run_id,
        # Bytes that were there, were replaced, and are there again: their first line is no longer in force.
        is_back=line is None and any(left.file is not None and left.file.sha256 == sha256 for left in replaced),
    )
    return _verdict("valid", remarks=tuple(remarks), rows=check.rows, sha256=sha256)


def _minimum_rows(plan: Plan, claim: dict[str, Any]) -> int:
    """What the trigger asks of a file that it was started by."""
    index = claim["trigger"]["index"]
    return 1 if index is None else plan.triggers[index].minimum_rows


def _frozen_among(workbench: Workbench, plan: Plan, content: bytes, name: str) -> tuple[int, int]:
    """How many rows of a file are frozen for evaluation and stay it, and how many it has."""
    frozen = standing_set(workbench.registry, plan.model)
    if frozen is None:
        return 0, 0
    records = read_records(content, name=name, expected=plan.columns)
    # Its cells are enough: a row is recognised by what it says.
    table = Table(
        columns={}, target=np.empty(0), others={}, files=np.zeros(len(records.rows), dtype=np.int64),
        headers=(records.header,), rows=records.rows,
    )  # fmt: skip
    rows = FrozenRows.from_csv(read(workbench, frozen.key))
    return int(are_frozen(plan, table, rows).sum()), len(table)


def _unlike_the_live(workbench: Workbench, plan: Plan, content: bytes, name: str) -> list[str]:
    """Remarks on values that the live version promises nothing about."""
    deployment = workbench.registry.deployment(plan.model)
    if deployment is None:
        return []
    try:
        contract = parse(workbench.registry.version(plan.model, deployment.champion).manifest.contract)
    except UsageError:
        return []  # a version of another release, or without a contract
    return remarks_on_upload(plan, contract, content, name=name)


def _run_that_learnt(workbench: Workbench, line: DatasetFile) -> Run | None:
    """The run that first brought the bytes, when it came to an end and they are still there to be learnt from.

    A run that failed may be tried again with the same file. So may one whose file was deleted from the bucket since:
    later models did without it.
    """
    try:
        run = workbench.registry.run(line.model, line.run_id)
    except ModelyardError:
        return None
    if run.status not in FINISHED or workbench.uploads.head(line.key, line.version_id) is None:
        return None
    return run


def _verdict(
    status: str,
    *,
    findings: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
    rows: int = 0,
    sha256: str = "",
    reason: str = "",
) -> dict[str, Any]:
    return {
        "status": status,
        "findings": listed(findings),
        "remarks": listed(remarks),
        "rows": rows,
        "sha256": sha256,
        "reason": short(reason or "; ".join(listed(findings))),
    }
