"""Is the challenger better than the champion? Both answer the same frozen rows, and the gate says what follows.

Runs on the serving layer, with onnxruntime: what is measured is what would be served.
"""

import math
import os
from typing import Any

import msgspec
import numpy as np

from modelyard.contract.breaking import breaking
from modelyard.errors import AdmissionError, ModelError, UsageError
from modelyard.evaluation import EvaluationSet, Predict, Report, Sample, ablate, evaluate
from modelyard.predictor.predictor import Predictor
from modelyard.report_key import notebook_key
from modelyard.retraining.bounds import listed, short
from modelyard.retraining.reports import FORMAT, Prepared, began, document_key, leave_document, read_document
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import leave, read, read_if_there
from modelyard.training import job
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.table import Table, table_of
from modelyard.version import Signature, Version

SAMPLE = 2_000
"""Training rows, at most, on which the challenger is measured again, for the gap between learning and knowing."""


def evaluate_challenger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Compare the ONNX file with the framework, and challenger with champion on the same frozen rows.

    A challenger that would break the champion's callers is rejected however good it is.

    Args:
        workbench: Registry and artifact bucket.
        event: ``claim``, ``prepared`` and ``training`` as those steps answered, ``without`` as the training without the
            newest file did, where there was one; ``plan``; ``run_id``.

    Returns:
        ``passed``; ``reason``; ``findings``, what the challenger would break; ``metrics`` of the challenger;
        ``champion``, the version it was compared with; ``revision`` of the deployment at that moment; ``report_key`` in
        the artifact bucket.
    """
    plan, run_id, training = decode_plan(event["plan"]), event["run_id"], event["training"]
    deployment = workbench.registry.deployment(plan.model)
    number = None if deployment is None else deployment.champion
    revision = 0 if deployment is None else deployment.revision
    model = read(workbench, training["model_key"])
    # Times are measured, so that a repeated step would find another document: the first one stands.
    given = [event["prepared"], training, event.get("without"), number]
    key = document_key(plan.model, run_id, msgspec.json.encode(given, order="sorted"), model)
    document = read_document(workbench, key)
    if document is None:
        document = _document(workbench, plan, event, model, number)
        document["training"] |= _kept_notebook(workbench, training, key)
        leave_document(workbench, document, key=key)
    metrics = document["metrics"]["challenger"] or {}
    return {
        "passed": document["passed"],
        "reason": short(document["reason"]),
        "findings": listed(document["breaks"]),
        # Neither JSON nor the registry has a NaN; the one that decided is a number when it passed.
        "metrics": {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)},
        "champion": number,
        "revision": revision,
        "report_key": key,
    }


def _document(
    workbench: Workbench, plan: Plan, event: dict[str, Any], model: bytes, number: int | None
) -> dict[str, Any]:
    """Everything that is known about the run; ``number`` is that of the champion."""
    run_id, training = event["run_id"], event["training"]
    challenger = Predictor.load(model)
    champion = None if number is None else workbench.registry.version(plan.model, number)
    prepared = msgspec.json.decode(read(workbench, event["prepared"]["record_key"]), type=Prepared)
    trained = job.read_trained(read(workbench, training["trained_key"]))
    broken = _broken(plan, challenger, prepared.contract, champion)
    judging = table_of(plan, read(workbench, prepared.evaluation_key), name="evaluation rows")
    rows = _rows(plan, judging, trained)
    sample = _sample(plan, read(workbench, f"{event['prepared']['job']}/in/{job.TRAINING}"))
    report, remark = _compare(
        plan,
        rows,
        challenger.predict,
        *_champion(workbench, plan, champion),
        size=len(model),
        sample=sample,
        breaks=broken,
    )
    return {
        "format": FORMAT,
        "model": plan.model,
        "task": plan.task,
        "run_id": run_id,
        "created_at": began(workbench, plan.model, run_id),
        "champion": number,
        "plan": msgspec.to_builtins(plan),
        **{name: value for name, value in msgspec.to_builtins(prepared).items() if name not in _NOT_TOLD},
        "training": {
            "where": prepared.where,
            "why_there": prepared.why_there,
            "candidate": trained.candidate,
            "settings": trained.settings,
            "why": trained.why,
            "seconds": trained.seconds,
            "leaderboard": trained.leaderboard,
            "remarks": trained.remarks,
            "environment": {**trained.environment, **_digests()},
        },
        **msgspec.to_builtins(report),
        "reason": f"{report.reason}{remark}",
        "breaks": broken,
        "ablation": _ablation(workbench, plan, rows, challenger.predict, event),
    }


def _kept_notebook(workbench: Workbench, training: dict[str, Any], key: str) -> dict[str, str]:
    """Keep a notebook as it ran as long as the document, beside it: its key. Nothing where no notebook trained."""
    executed = read_if_there(workbench, training["notebook_key"]) if "notebook_key" in training else None
    return {} if executed is None else {"notebook": leave(workbench, notebook_key(key), executed)}


_NOT_TOLD = frozenset({"where", "why_there", "evaluation_key"})
"""Of what was prepared: what stands elsewhere in the document."""


def _rows(plan: Plan, judging: Table, trained: job.Trained) -> EvaluationSet:
    sliced = plan.evaluation.slices
    features = plan.training.features
    return EvaluationSet(
        task=plan.task,
        instances=judging.instances(),
        truth=judging.target.tolist(),
        predictions=trained.predictions,
        baseline=trained.baseline,
        columns={name: judging.others_or_features(name).tolist() for name in sliced},
        kinds={name: features[name].kind for name in sliced if name in features},
    )


def _sample(plan: Plan, training: bytes) -> Sample:
    """Some training rows, evenly from all over the file."""
    table = table_of(plan, training, name="training rows")
    if len(table) > SAMPLE:
        kept = np.zeros(len(table), dtype=np.bool_)
        kept[np.linspace(0, len(table) - 1, SAMPLE).astype(int)] = True
        table = table.take(kept)
    return Sample(instances=table.instances(), truth=table.target.tolist())


def _digests() -> dict[str, str | None]:
    """What trained: the library and the locked dependencies, as the layers carry them; the model's own code."""
    return {
        "code_digest": os.environ.get("MODELYARD_CODE_DIGEST"),
        "lock_digest": os.environ.get("MODELYARD_LOCK_DIGEST"),
        **({"own_digest": own} if (own := os.environ.get("MODELYARD_OWN_DIGEST")) else {}),
    }


def _ablation(
    workbench: Workbench, plan: Plan, rows: EvaluationSet, with_file: Predict, event: dict[str, Any]
) -> dict[str, Any] | None:
    """What the newest file changed, where that was asked for and could be trained."""
    asked, without = event["prepared"].get("ablation"), event.get("without") or {}
    key = without.get("model_key")
    model = None if key is None else read_if_there(workbench, key)
    if asked is None or model is None:
        return None
    found = ablate(
        rows,
        file=asked["file"],
        metric=plan.evaluation.metric,
        with_file=with_file,
        without_file=Predictor.load(model).predict,
        seed=plan.training.seed,
    )
    answer: dict[str, Any] = msgspec.to_builtins(found)
    return answer


def _broken(plan: Plan, challenger: Predictor, contract: dict[str, Any] | None, champion: Version | None) -> list[str]:
    """What the challenger would break for callers of the champion, unless the plan answers for it."""
    if champion is None or plan.contract.accepted(champion.number) is not None:
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


def _champion(workbench: Workbench, plan: Plan, version: Version | None) -> tuple[Predict | None, str, int | None]:
    """What answers as the live version does, what must be said about it, and its number."""
    if version is None:
        return None, "", None
    number = version.number
    model = read(workbench, version.manifest.key)
    taken = [tensor.name for tensor in version.manifest.signature.inputs]
    gone = sorted(set(taken) - set(plan.training.features))
    if gone:
        needs = ", ".join(gone)
        return (
            None,
            f"; the champion, version {number}, needs {needs}, which the data no longer has: not compared with it",
            number,
        )
    try:
        predictor = Predictor.load(model)
    except AdmissionError as problem:
        said = f"; the champion, version {number}, cannot be loaded ({problem.message}): not compared with it"
        return None, said, number
    # A champion from before a feature was added answers from the columns that it knows.
    return (
        lambda instances: predictor.predict([{name: row[name] for name in taken} for row in instances]),
        f"; the champion, version {number}, cannot answer these rows",
        number,
    )


def _compare(
    plan: Plan,
    rows: EvaluationSet,
    challenger: Predict,
    champion: Predict | None,
    remark: str,
    number: int | None,
    *,
    size: int,
    sample: Sample,
    breaks: list[str],
) -> tuple[Report, str]:
    """The report, and the remark where it is one without the champion.

    A champion may be unable to answer the rows of today: a column became text, the task is another one, it was brought
    from elsewhere with outputs of its own. If that ended the run, it would hold its place for ever.
    """

    def report(opponent: Predict | None) -> Report:
        return evaluate(
            rows,
            asked=plan.evaluation,
            challenger=challenger,
            champion=opponent,
            size=size,
            training=sample,
            breaks=breaks,
            champion_version=number,
            seed=plan.training.seed,
        )

    if champion is None:
        return report(None), remark
    try:
        return report(champion), ""
    except (UsageError, ModelError) as problem:
        return report(None), f"{remark} ({problem.message}): not compared with it"  # raises if it is the challenger's
