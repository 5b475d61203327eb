"""From a model that passed the gate to a live version: register it, and make it the champion."""

import os
from typing import Any

import msgspec

from modelyard.admission import admit
from modelyard.compiling.compiler import compile_model
from modelyard.errors import ConflictError
from modelyard.retraining.bounds import LISTED_BYTES, short
from modelyard.retraining.costs import usd_of
from modelyard.retraining.reports import Prepared
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import read
from modelyard.training.plan import decode_plan
from modelyard.version import Lineage, TrainingObject


def register_challenger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Make the trained model a version, with where it comes from.

    Args:
        workbench: Registry and artifact bucket.
        event: ``prepared``, ``training`` and ``evaluation`` as those steps answered; ``execution``, the workflow
            execution's ARN; ``plan``; ``run_id``.

    Returns:
        ``version``, its number; ``created``, false when another run had registered the same version. Or ``status``
        ``conflict`` and ``reason``: it would break what went live since the evaluation, so that is to be done again.
    """
    plan, training, evaluation = decode_plan(event["plan"]), event["training"], event["evaluation"]
    model = read(workbench, training["model_key"])
    prepared = msgspec.json.decode(read(workbench, event["prepared"]["record_key"]), type=Prepared)
    objects, more = _listed(msgspec.convert(prepared.files, list[TrainingObject]))
    try:
        registered = workbench.registry.register(
            plan.model,
            model,
            task=plan.task,
            signature=admit(model),
            contract=prepared.contract,
            accept_breaking=plan.contract.accepted(evaluation["champion"]),
            compiler=compile_model,
            metrics=evaluation["metrics"],
            evaluation=evaluation["report_key"],
            lineage=Lineage(
                source="trained",
                objects=objects,
                code_digest=os.environ.get("MODELYARD_CODE_DIGEST"),
                lock_digest=os.environ.get("MODELYARD_LOCK_DIGEST"),
                parent_version=evaluation["champion"],
                run_id=event["run_id"],
                execution=event["execution"],
            ),
            note=f"{training['candidate']}: {evaluation['reason']}{more}",
            **({} if plan.about is None else msgspec.structs.asdict(plan.about)),
        )
    except ConflictError as conflict:
        if conflict.code != "breaking_contract":
            raise
        return _changed(conflict)
    version = registered.version
    return {"version": version.number, "created": version.manifest.lineage.run_id == event["run_id"]}


def _listed(objects: list[TrainingObject]) -> tuple[tuple[TrainingObject, ...], str]:
    """The training files that a manifest has room for, the newest, and what to say about the others."""
    room = LISTED_BYTES
    for place in range(len(objects) - 1, -1, -1):
        room -= len(msgspec.json.encode(objects[place]))
        if room < 0:
            count = len(objects) - place - 1
            more = f"; trained on {len(objects):,} files, of which the newest {count:,} are listed here: the report"
            return tuple(objects[place + 1 :]), f"{more} has all"
    return tuple(objects), ""


def promote_challenger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Make the registered version live, unless the deployment changed since the evaluation.

    Args:
        workbench: The registry.
        event: ``prepared``, ``training``, ``registered`` and ``evaluation`` as those steps answered; ``plan``;
            ``run_id``.

    Returns:
        ``version``; ``revision`` of the deployment; ``reason``; ``report_key``. Or ``status`` ``conflict`` and
        ``reason``: somebody promoted or rolled back meanwhile, so what was compared is not what is live.
    """
    plan, run_id, evaluation = decode_plan(event["plan"]), event["run_id"], event["evaluation"]
    number = event["registered"]["version"]
    try:
        deployment = workbench.registry.promote(
            plan.model,
            number,
            reason=evaluation["reason"],
            expected_revision=evaluation["revision"],
            operation=f"promote-{run_id}",
        )
    except ConflictError as conflict:
        # Runs that overlap train on the same files and make the same version. Whichever promotes it, it is live.
        found = workbench.registry.deployment(plan.model)
        if found is None or found.champion != number:
            if conflict.code != "revision_changed":
                raise
            return _changed(conflict)
        workbench.registry.publish_pointer(plan.model)  # for endpoints too, should the other writer have died
        deployment = found
    reason, report, usd = evaluation["reason"], evaluation["report_key"], usd_of(event["plan"], event)
    workbench.registry.record_run(
        plan.model, run_id, status="promoted", reason=reason, version=number, report=report, usd=usd
    )
    workbench.registry.record_learnt(
        plan.model, event["prepared"]["digest"], run_id=run_id, status="promoted", reason=reason,
        champion=evaluation["champion"], version=number,
    )  # fmt: skip
    workbench.registry.release_turn(plan.model, run_id, usd=usd)
    return {"version": number, "revision": deployment.revision, "reason": reason, "report_key": report}


def _changed(conflict: ConflictError) -> dict[str, Any]:
    """An answer and no error: not every AWS tells the workflow of what type an error was."""
    return {"status": "conflict", "reason": short(conflict.message)}
