"""What the control plane answers with. The OpenAPI document is made of these, so each field says what it is.

They repeat the registry's records on purpose: a record may gain a field without an API promising it. A test holds each
against its record.
"""

from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from modelyard import deployment as deployments
from modelyard import version as versions
from modelyard.control.bodies import EXAMPLE_DIGEST
from modelyard.registry import records

EXAMPLE_ARN = "arn:aws:iam::111122223333:user/ada"
EXAMPLE_TIME = "2026-11-21T10:00:00.000000Z"


class Answer(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(frozen=True)


class ModelLine(Answer):
    """A model as a listing shows it."""

    name: str = Field(examples=["seattle_weather"])
    task: versions.Task = Field(description="What kind of answer it gives.", examples=["multiclass"])
    description: str = Field(examples=["Weather of tomorrow"])
    owner: str = Field(examples=["forecast-team"])
    tags: list[str] = Field(examples=[["weather"]])
    created_at: str = Field(description="When its first version was registered.", examples=[EXAMPLE_TIME])


class Deployment(Answer):
    """What is live."""

    model: str = Field(examples=["seattle_weather"])
    champion: int = Field(description="The version that answers.", examples=[2])
    challenger: int | None = Field(description="A version on trial.", examples=[None])
    others: list[int] = Field(description="Further versions on trial, beside the first.", examples=[[]])
    mode: deployments.Mode = Field(description="How a challenger takes part.", examples=["live"])
    split: int | float = Field(description="The challenger's share of requests in percent, as a canary.", examples=[0])
    shares: dict[int, int | float] = Field(
        description="Each version's share of requests in percent; 0 for one that answers unseen.",
        examples=[{"2": 100}],
    )
    revision: int = Field(description="Counts the changes; `expected_revision` of the next one.", examples=[3])
    changed_at: str = Field(examples=[EXAMPLE_TIME])
    changed_by: str = Field(description="IAM ARN.", examples=[EXAMPLE_ARN])
    reason: str = Field(examples=["Fewer false alarms in the shadow"])

    @classmethod
    def of(cls, deployment: deployments.Deployment) -> "Deployment":
        """The registry's deployment."""
        return cls.model_validate(deployments.told(deployment))


class FoundModel(ModelLine):
    """A model; what only a search knows is null in the plain listing."""

    versions: int | None = Field(default=None, description="How many there are.", examples=[2])
    version: int | None = Field(
        default=None, description="The champion or, where nothing is live, the newest version.", examples=[2]
    )
    is_live: bool | None = Field(default=None, description="Whether that version is live.", examples=[True])
    metrics: dict[str, float] | None = Field(
        default=None, description="Of that version.", examples=[{"accuracy": 0.87}]
    )


class Models(Answer):
    """Models by name, or by a metric that was asked for."""

    items: list[FoundModel]
    next: str | None = Field(description="`start` of the next page; null on the last.", examples=[None])


class Model(ModelLine):
    """A model and what is live of it."""

    versions: int = Field(description="How many there are; the newest has this number.", examples=[2])
    deployment: Deployment | None = Field(description="Null when nothing is live.")
    live: "Version | None" = Field(
        description="The version that answers: signature, contract, metrics, lineage. Null when nothing is live."
    )


class Tensor(Answer):
    """One input."""

    name: str = Field(examples=["temp_max"])
    dtype: versions.Dtype = Field(examples=["float32"])
    shape: list[int | None] = Field(description="Null: any length. Axis 0 is the batch.", examples=[[None, 1]])


class OutputTensor(Tensor):
    """One output."""

    name: str = Field(examples=["probabilities"])
    shape: list[int | None] = Field(description="Null: any length. Axis 0 is the batch.", examples=[[None, 2]])
    classes: list[str] | None = Field(description="Names along the last axis.", examples=[["rain", "sun"]])


class Signature(Answer):
    """What goes into a model and what comes out, in the model's own order."""

    inputs: list[Tensor]
    outputs: list[OutputTensor]


class TrainingObject(Answer):
    """A training file, as the exact object version that was read."""

    bucket: str = Field(examples=["example-data"])
    key: str = Field(examples=["seattle_weather/2026.csv"])
    version_id: str = Field(examples=["3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"])
    sha256: str = Field(examples=[EXAMPLE_DIGEST])
    rows: int = Field(examples=[1461])


class Lineage(Answer):
    """Where a version comes from."""

    source: Literal["brought", "trained"] = Field(examples=["brought"])
    objects: list[TrainingObject] = Field(examples=[[]])
    code_digest: str | None = Field(description="SHA-256 of its code.", examples=[EXAMPLE_DIGEST])
    lock_digest: str | None = Field(description="SHA-256 of its locked dependencies.", examples=[None])
    parent_version: int | None = Field(description="The champion that it was compared with.", examples=[None])
    run_id: str | None = Field(description="The retraining run.", examples=[None])
    execution: str | None = Field(description="The workflow's execution.", examples=[None])
    imported_from: str | None = Field(description="The run of another registry that it came from.", examples=[None])
    params: dict[str, str] = Field(description="Parameters of that run, as text.", examples=[{}])


class VersionLine(Answer):
    """A version as a listing shows it."""

    number: int = Field(examples=[2])
    task: versions.Task = Field(examples=["multiclass"])
    digest: str = Field(description="SHA-256 of the ONNX file.", examples=[EXAMPLE_DIGEST])
    size: int = Field(description="Its bytes.", examples=[13412])
    metrics: dict[str, float] = Field(examples=[{"accuracy": 0.87}])
    note: str = Field(examples=["Trained on the 2026 season"])
    author: str = Field(description="IAM ARN.", examples=[EXAMPLE_ARN])
    created_at: str = Field(examples=[EXAMPLE_TIME])

    @classmethod
    def of(cls, version: versions.Version) -> "VersionLine":
        """The registry's version, in short."""
        return cls.model_validate(_flat(version))


class Versions(Answer):
    """Versions, newest first."""

    items: list[VersionLine]
    next: str | None = Field(description="`start` of the next page; null on the last.", examples=[None])


class Version(VersionLine):
    """A version: immutable, everything that is known about it."""

    model: str = Field(examples=["seattle_weather"])
    key: str = Field(
        description="Where its bytes lie in the artifact bucket.",
        examples=[versions.artifact_key(EXAMPLE_DIGEST)],
    )
    signature: Signature
    contract: dict[str, Any] | None = Field(description="What its training data looked like.", examples=[None])
    evaluation: str | None = Field(description="Key of the evaluation report.", examples=[None])
    lineage: Lineage
    compilation: dict[str, Any] | None = Field(
        description="What the compiler made of it: forms that load faster, by architecture, or why there are none.",
        examples=[None],
    )

    @classmethod
    def of(cls, version: versions.Version) -> "Version":
        """The registry's version."""
        return cls.model_validate(_flat(version))


class FileVersion(Answer):
    """A version that was trained on a file."""

    model: str = Field(examples=["seattle_weather"])
    number: int = Field(examples=[2])
    author: str = Field(description="IAM ARN.", examples=[EXAMPLE_ARN])
    created_at: str = Field(examples=[EXAMPLE_TIME])

    @classmethod
    def of(cls, found: records.FoundVersion) -> "FileVersion":
        """The registry's entry, without the value of a metric that nobody asked for."""
        return cls.model_validate({name: getattr(found, name) for name in cls.model_fields})


class FileVersions(Answer):
    """Versions that were trained on a file, by model and number."""

    items: list[FileVersion]
    next: str | None = Field(description="`start` of the next page; null on the last.", examples=[None])


class Notes(Answer):
    """What a model's owner says about it."""

    model: str = Field(examples=["seattle_weather"])
    text: str = Field(
        description="Markdown; empty when there are none.", examples=["Ask the forecast team before you rely on snow."]
    )
    at: str | None = Field(description="When they were written last; null: never.", examples=[EXAMPLE_TIME])
    by: str | None = Field(description="IAM ARN of who wrote them last.", examples=[EXAMPLE_ARN])
    revision: int = Field(description="Counts the changes; `expected_revision` of the next one.", examples=[1])

    @classmethod
    def of(cls, model: str, notes: records.Notes | None) -> "Notes":
        """The registry's notes about ``model``; revision 0 is that nobody has written any."""
        if notes is None or notes.revision == 0:
            return cls(model=model, text="", at=None, by=None, revision=0)
        return cls.model_validate(msgspec.to_builtins(notes))


class LedgerEntry(Answer):
    """One line of a model's history."""

    model: str = Field(examples=["seattle_weather"])
    at: str = Field(examples=[EXAMPLE_TIME])
    operation: str = Field(description="Id of the change.", examples=["release-2026-11-21"])
    kind: deployments.Kind = Field(examples=["promoted"])
    actor: str = Field(description="IAM ARN of who did it.", examples=[EXAMPLE_ARN])
    reason: str = Field(examples=["Fewer false alarms in the shadow"])
    version: int | None = Field(examples=[2])
    previous: int | None = Field(description="The champion before.", examples=[1])
    revision: int | None = Field(description="The deployment's revision after it.", examples=[3])
    steps: int = Field(description="How many promotions a rollback undid.", examples=[0])
    run_id: str | None = Field(description="The retraining run.", examples=[None])
    details: dict[str, Any] = Field(description="Findings, metrics; what the kind adds.", examples=[{}])


class History(Answer):
    """The ledger, newest first."""

    items: list[LedgerEntry]
    next: str | None = Field(description="`start` of the next page; null on the last.", examples=[None])
    at: str | None = Field(description="The time that was asked for.", examples=[None])
    deployment: Deployment | None = Field(description="With `at`: what was live then; null: nothing.", examples=[None])


class Run(Answer):
    """One retraining run."""

    model: str = Field(examples=["seattle_weather"])
    run_id: str = Field(examples=["20261121T100000-4c6a"])
    status: records.Status = Field(examples=["promoted"])
    reason: str = Field(examples=["log loss 0.61 to 0.55, 95 % interval 0.03 to 0.09"])
    started_at: str = Field(examples=[EXAMPLE_TIME])
    ended_at: str | None = Field(examples=[EXAMPLE_TIME])
    object: dict[str, Any] | None = Field(
        description="The upload that started it.", examples=[{"key": "seattle_weather/2026.csv"}]
    )
    version: int | None = Field(description="What came of it.", examples=[2])
    trigger: str = Field(
        description="What started it: upload, labels, schedule, alarm, manual; collect: nothing.", examples=["upload"]
    )
    into: str | None = Field(description="The run that a merged run became a part of.", examples=[None])
    report: str | None = Field(
        description="Key of its document in the artifact bucket.",
        examples=["reports/seattle_weather/20261121T100000-4c6a-9f86d081884c7d65.json"],
    )
    usd: float | None = Field(description="What it cost on AWS, about; null while it trains.", examples=[0.0113])


class Runs(Answer):
    """Retraining runs by id, highest first."""

    items: list[Run]
    next: str | None = Field(description="`start` of the next page; null on the last.", examples=[None])


class Upload(Answer):
    """Where to send the bytes, with exactly these headers; S3 refuses bytes with another SHA-256 or size."""

    method: Literal["PUT"] = Field(examples=["PUT"])
    url: str = Field(examples=["https://example-artifacts.s3.eu-west-1.amazonaws.com/uploads/...?X-Amz-Signature=..."])
    headers: dict[str, str] = Field(
        examples=[
            {
                "content-length": "13412",
                "content-type": "application/octet-stream",
                "x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
            }
        ]
    )
    expires_in_s: int = Field(description="Seconds until the URL ends.", examples=[900])


class Registered(Answer):
    """What became of an upload."""

    created: bool = Field(description="False: the same was registered before, as this version.", examples=[True])
    version: Version


class Problem(Answer):
    """What went wrong, where, and what to do next (RFC 9457)."""

    type: Literal["about:blank"] = Field(examples=["about:blank"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    code: str = Field(description="Stable; branch on it.", examples=["revision_changed"])
    detail: str = Field(examples=["the deployment of model 'seattle_weather' is not at revision 2 any more; ..."])
    request_id: str = Field(description="In the function's log and the API's.", examples=["UZQ8ijNXjoEEJ6Q="])
    field: str | None = Field(default=None, description="What is at fault.", examples=["expected_revision"])
    next_step: str | None = Field(default=None, examples=["Look at the history, then try again."])


def _flat(version: versions.Version) -> dict[str, Any]:
    """Number, author and time beside what the manifest says."""
    plain = msgspec.to_builtins(version)
    return {**plain.pop("manifest"), **plain}


class RolloutSaid(Answer):
    """Who did something, when and why."""

    at: str = Field(examples=[EXAMPLE_TIME])
    by: str = Field(description="IAM ARN.", examples=[EXAMPLE_ARN])
    reason: str = Field(examples=["release freeze"])


class RolloutPhase(Answer):
    """One of a rollout's steps; the last is the promotion."""

    mode: Literal["shadow", "canary", "live"] = Field(examples=["canary"])
    share: int | float = Field(description="Percent of the requests.", examples=[5])
    minutes: float = Field(description="The least time.", examples=[10])
    state: Literal["done", "now", "ahead", "ended"] = Field(examples=["now"])


class RolloutStep(Answer):
    """The step that it is in."""

    number: int = Field(examples=[2])
    of: int = Field(description="The promotion counts too.", examples=[5])
    mode: Literal["shadow", "canary"] = Field(examples=["canary"])
    share: int | float = Field(description="Percent of the requests.", examples=[5])
    since: str = Field(examples=[EXAMPLE_TIME])
    minutes: float = Field(description="The least time.", examples=[10])
    minutes_left: float = Field(examples=[3.5])
    requests: int | None = Field(description="So many end it before its time is over.", examples=[None])


class RolloutApproval(Answer):
    """A question to a person, and the answer."""

    asked_at: str = Field(examples=[EXAMPLE_TIME])
    answer: Literal["approved", "refused"] | None = Field(examples=[None])
    answered: RolloutSaid | None = Field(examples=[None])


class RolloutVerdict(Answer):
    """What the last look came to."""

    at: str = Field(examples=[EXAMPLE_TIME])
    decision: Literal["promote", "continue", "abort"] = Field(
        description="promote: this step is passed.", examples=["continue"]
    )
    cause: str | None = Field(description="What is wrong with the version, a code.", examples=[None])
    reasons: list[str] = Field(examples=[["34 requests of this step so far; at least 200 are asked for"]])
    requests: int = Field(description="Requests of this step that the version was asked.", examples=[34])
    counted: int = Field(description="Of those, how many it rests on.", examples=[34])
    waits_for: str = Field(examples=["3.5 of 10 minutes are left"])
    next_look_s: int = Field(description="Seconds; below 0 it is so late.", examples=[29])
    checks: list[dict[str, Any]] = Field(
        description="Everything that was looked at, with interval, limit and samples.", examples=[[]]
    )


class Rollout(Answer):
    """How a version meets traffic."""

    model: str = Field(examples=["seattle_weather"])
    rollout_id: str = Field(examples=["release-2026-11-21"])
    version: int = Field(description="The version that is to become the champion.", examples=[3])
    champion: int = Field(description="The version that it is compared with.", examples=[2])
    status: str = Field(
        description="starting, running, paused, waiting (for a person), or how it ended.", examples=["running"]
    )
    outcome: Literal["promoted", "aborted", "refused", "undecided", "superseded", "failed"] | None = Field(
        description="How it ended; null while it goes on.", examples=[None]
    )
    cause: str | None = Field(description="Why it ended so, a code.", examples=[None])
    reason: str = Field(description="Why it was started.", examples=["better on rain"])
    started_at: str = Field(examples=[EXAMPLE_TIME])
    started_by: str = Field(description="IAM ARN.", examples=[EXAMPLE_ARN])
    end: RolloutSaid | None = Field(description="Who or what ended it, and why.", examples=[None])
    steps: list[RolloutPhase] = Field(description="Empty until its workflow has begun.")
    step: RolloutStep | None = Field(description="Null before the first step and after the end.")
    traffic: dict[int, int | float] = Field(
        description="Each version's share of requests in percent, now; 0 for one that answers unseen.",
        examples=[{"2": 95, "3": 5}],
    )
    mode: deployments.Mode | None = Field(description="Of the deployment.", examples=["canary"])
    paused: RolloutSaid | None = Field(examples=[None])
    approval: RolloutApproval | None = Field(examples=[None])
    deadline: str | None = Field(description="When it ends undecided.", examples=[EXAMPLE_TIME])
    hours_left: float | None = Field(examples=[71.5])
    looks: int = Field(description="How often a verdict was asked for.", examples=[12])
    verdict: RolloutVerdict | None = Field(description="Null before the first look.")
