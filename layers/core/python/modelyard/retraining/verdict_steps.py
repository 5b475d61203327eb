"""From a trained model to a live one: evaluate, register, promote. They run on the serving layer, with onnxruntime."""

import hashlib
import math
import os
from typing import Any

import msgspec

from modelyard.admission import admit
from modelyard.compiling.compiler import compile_model
from modelyard.contract.breaking import breaking
from modelyard.errors import AdmissionError, ConflictError, ModelError, NotFoundError, UsageError
from modelyard.evaluation import EvaluationSet, Predict, Report, evaluate
from modelyard.predictor.predictor import Predictor
from modelyard.retraining.bounds import LISTED_BYTES, listed, short
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan, decode_plan
from modelyard.version import Lineage, Signature, TrainingObject, Version


def evaluate_challenger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Compare the ONNX file with the framework, and challenger with champion on the same held-out rows.

    Where nothing was trained, the reason for that is passed on: the run ends as a rejection. So it does where the
    challenger would break the champion's callers, however good it is.

    Args:
        workbench: Registry and artifact bucket.
        event: ``training`` as the training step answered; ``plan``; ``run_id``.

    Returns:
        ``passed``; ``reason``; ``findings``, what the challenger would break; ``metrics`` of the challenger;
        ``champion``, the version it was compared with; ``revision`` of the deployment at that moment; ``report_key`` in
        the artifact bucket.
    """
    plan, run_id, training = decode_plan(event["plan"]), event["run_id"], event["training"]
    deployment = workbench.registry.deployment(plan.model)
    number = None if deployment is None else deployment.champion
    revision = 0 if deployment is None else deployment.revision
    if training["status"] == "refused":
        return {
            "passed": False,
            "reason": training["reason"],
            "findings": [],
            "metrics": {},
            "champion": number,
            "revision": revision,
            "report_key": None,
        }
    challenger = Predictor.load(_read(workbench, training["model_key"]))
    champion = None if number is None else workbench.registry.version(plan.model, number)
    record = msgspec.json.decode(_read(workbench, training["record_key"]))
    broken = _broken(plan, challenger, record.pop("contract", None), champion)
    rows = EvaluationSet.from_json(_read(workbench, training["evaluation_key"]))
    report, remark = _compare(plan, rows, challenger.predict, *_champion(workbench, plan, champion))
    said = f"{report.reason}{remark}"
    if broken:
        breaks = f"it would break callers of the champion, version {number}: {'; '.join(broken)}"
        said = breaks if report.passed else f"{said}; and {breaks}"
    document = {
        "model": plan.model,
        "run_id": run_id,
        "champion": number,
        "training": {**training, **record},
        **msgspec.to_builtins(report),
        "passed": report.passed and not broken,
        "reason": said,
        "breaks": broken,
    }
    content = msgspec.json.encode(document)
    key = f"reports/{plan.model}/{run_id}-{hashlib.sha256(content).hexdigest()[:16]}.json"
    workbench.artifacts.put_if_absent(key, content, content_type="application/json")
    metrics = report.metrics["challenger"] or {}
    return {
        "passed": report.passed and not broken,
        "reason": short(said),
        "findings": listed(broken),
        # Neither JSON nor the registry has a NaN; the one that decided is a number when it passed.
        "metrics": {name: value for name, value in metrics.items() if math.isfinite(value)},
        "champion": number,
        "revision": revision,
        "report_key": key,
    }


def _broken(plan: Plan, challenger: Predictor, contract: dict[str, Any] | None, champion: Version | None) -> list[str]:
    """What the challenger would break for callers of the champion, unless the plan answers for it."""
    if champion is None or _accepted(plan, champion.number) is not None:
        return []
    inputs, outputs = challenger.signature.inputs, challenger.signature.outputs
    signature = msgspec.convert(
        {
            "inputs": [{"name": found.name, "dtype": found.dtype, "shape": found.shape} for found in inputs],
            "outputs": [
                {"name": found.name, "dtype": found.dtype, "shape": found.shape, "classes": found.classes}
                for found in outputs
            ],
        },
        Signature,
    )
    new = msgspec.structs.replace(champion.manifest, signature=signature, contract=contract)
    return [found.sentence for found in breaking(champion.manifest, new)]


def _accepted(plan: Plan, live: int | None) -> str | None:
    """Why breaks of the live version are accepted; None when they are not."""
    said = plan.contract.accept_breaking
    return said.reason if said is not None and said.version == live else None


def _champion(workbench: Workbench, plan: Plan, version: Version | None) -> tuple[Predict | None, str]:
    """What answers as the live version does, and what must be said about it."""
    if version is None:
        return None, ""
    number = version.number
    model = _read(workbench, version.manifest.key)
    taken = [tensor.name for tensor in version.manifest.signature.inputs]
    gone = sorted(set(taken) - set(plan.training.features))
    if gone:
        needs = ", ".join(gone)
        return (
            None,
            f"; the champion, version {number}, needs {needs}, which the data no longer has: not compared with it",
        )
    try:
        predictor = Predictor.load(model)
    except AdmissionError as problem:
        return None, f"; the champion, version {number}, cannot be loaded ({problem.message}): not compared with it"
    # A champion from before a feature was added answers from the columns that it knows.
    return (
        lambda instances: predictor.predict([{name: row[name] for name in taken} for row in instances]),
        f"; the champion, version {number}, cannot answer these rows",
    )


def _compare(
    plan: Plan, rows: EvaluationSet, challenger: Predict, champion: Predict | None, remark: str
) -> tuple[Report, str]:
    """The report, and the remark where it is one without the champion.

    A champion may be unable to answer the rows of today: a column became text, the task is another one, it was brought
    from elsewhere with outputs of its own. If that ended the run, it would hold its place for ever.
    """

    def report(opponent: Predict | None) -> Report:
        return evaluate(
            rows,
            metric=plan.evaluation.metric,
            min_improvement=plan.evaluation.min_improvement,
            tolerance=plan.evaluation.tolerance,
            challenger=challenger,
            champion=opponent,
            seed=plan.training.seed,
        )

    if champion is None:
        return report(None), remark
    try:
        return report(champion), ""
    except (UsageError, ModelError) as problem:
        return report(None), f"{remark} ({problem.message}): not compared with it"  # raises if it is the challenger's


def register_challenger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Make the trained model a version, with where it comes from.

    Args:
        workbench: Registry and artifact bucket.
        event: ``training`` and ``evaluation`` as those steps answered; ``execution``, the workflow execution's ARN;
            ``plan``; ``run_id``.

    Returns:
        ``version``, its number; ``created``, false when another run had registered the same version.
    """
    plan, training, evaluation = decode_plan(event["plan"]), event["training"], event["evaluation"]
    model = _read(workbench, training["model_key"])
    record = msgspec.json.decode(_read(workbench, training["record_key"]))
    objects, more = _listed(msgspec.convert(record["objects"], list[TrainingObject]))
    registered = workbench.registry.register(
        plan.model,
        model,
        task=plan.task,
        signature=admit(model),
        contract=record.get("contract"),
        accept_breaking=_accepted(plan, evaluation["champion"]),
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
        event: ``registered`` and ``evaluation`` as those steps answered; ``plan``; ``run_id``.

    Returns:
        ``version``; ``revision`` of the deployment; ``reason``.

    Raises:
        ConflictError: When somebody promoted or rolled back meanwhile: what was compared is not what is live.
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
    except ConflictError:
        # Runs that overlap train on the same files and make the same version. Whichever promotes it, it is live.
        found = workbench.registry.deployment(plan.model)
        if found is None or found.champion != number:
            raise
        workbench.registry.publish_pointer(plan.model)  # for endpoints too, should the other writer have died
        deployment = found
    workbench.registry.record_run(plan.model, run_id, status="promoted", reason=evaluation["reason"], version=number)
    return {"version": number, "revision": deployment.revision, "reason": evaluation["reason"]}


def _read(workbench: Workbench, key: str) -> bytes:
    found = workbench.artifacts.get(key)
    if found is None:
        raise NotFoundError(
            f"{key} is not in the artifact bucket; working files expire after 30 days",
            code="object_not_found",
            next_step="Upload the data again: it starts a new run.",
        )
    return found.body
