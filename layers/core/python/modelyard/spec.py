"""What a model declares: ``models/<name>/model.toml``, typed and validated whole.

Read at synth and by the CLI, never in the hot path (pydantic costs 260 ms of CPU there). Reading makes no network
call and no AWS call. All findings come at once, each with its file and key; an unknown key is answered with the
nearest known one. Every key that exists is a field below: ``docs/spec.md`` lists them and a test compares.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from modelyard import spec_retraining_rules, spec_rollout_rules, spec_rules, spec_server_rules
from modelyard.contract.rules import TOLERANCE
from modelyard.errors import SpecError
from modelyard.names import LONGEST_REASON
from modelyard.spec_retraining import EvaluationSection, TrainingSection, Trigger
from modelyard.spec_rollout import MonitoringSection, RolloutSection
from modelyard.spec_section import Column, PathInside, Section
from modelyard.spec_server import KINDS, Kind, ServerSection, Target
from modelyard.toml import Problem, read_toml, read_toml_file, validate

SPEC_FILE = "model.toml"
SPEC_DOCS = "docs/spec.md"

Task = Literal["regression", "binary", "multiclass"]
ContractMode = Literal["reject", "clip", "warn"]
Engine = Literal["lean", "standard"]


class ModelSection(Section):
    """Who the model is and where it comes from."""

    name: Annotated[str, AfterValidator(spec_rules.portable_name)] = Field(
        description="Unique name; equals the folder's name. Lower-case letters, digits and '_', at most 48."
    )
    task: Task = Field(description="What kind of answer the model gives.")
    description: str = Field(
        default="", max_length=1000, description="One sentence for people who find the model in a list."
    )
    owner: str = Field(
        default="", max_length=1000, description="Who is asked when it misbehaves: a person, team or address."
    )
    tags: Annotated[list[str], AfterValidator(spec_rules.tags)] = Field(
        default_factory=list,
        max_length=8,
        description="Words to find it by: lower-case letters, digits, '.', '_', ':', '-'.",
    )
    artifact: PathInside | None = Field(
        default=None, description="A finished ONNX file in the folder, for a model that is not trained here."
    )
    code: Annotated[str, AfterValidator(spec_rules.own_package)] | None = Field(
        default=None,
        description="Package under python/ with preprocess and postprocess; deployed as the model's own layer.",
    )
    app: Annotated[str, AfterValidator(spec_rules.own_app)] | None = Field(
        default=None,
        description="An app (FastAPI, ASGI) under python/, 'package.module:attribute', served at /models/<name>/app.",
    )
    example: PathInside | None = Field(
        default=None, description='A JSON file in the folder, {"instances": [...]}: a first request that works.'
    )


class EndpointSection(Section):
    """Where requests are answered, and by what."""

    target: Target = Field(
        default="lambda", description="Where the endpoint runs; docs/sagemaker.md says what each one costs and allows."
    )
    host: Annotated[str, AfterValidator(spec_rules.portable_name)] | None = Field(
        default=None, description="SageMaker: models with the same name here share one server and its machines."
    )
    memory_mb: int = Field(default=1769, ge=128, le=10240, description="Lambda memory; 1769 MB buys one full vCPU.")
    timeout_s: int = Field(default=10, ge=1, le=29, description="Deadline of one request; the HTTP API ends at 30 s.")
    concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="Reserved concurrency: a ceiling on cost and on load behind it."
    )
    architecture: Literal["arm64", "x86_64"] = Field(
        default="arm64", description="Processor in the cloud; the local environment uses the host's own."
    )
    engine: Literal["auto", "lean", "standard"] = Field(
        default="auto",
        description="lean: onnxruntime's C library alone, starts fastest; standard: with numpy, as model.code needs "
        "and model.app may.",
    )
    refresh_s: int = Field(
        default=10, ge=1, le=3600, description="Longest time an endpoint may answer with a version no longer live."
    )
    snap_start: bool = Field(
        default=False, description="Start from a snapshot of the loaded model, for a price; [local] ignores it."
    )
    api: int = Field(default=0, ge=0, le=9, description="Which HTTP API carries the route; each holds 300 routes.")


class FieldContract(Section):
    """What is known better about one input than a sample can show."""

    mode: ContractMode | None = Field(default=None, description="In place of contract.mode.")
    minimum: float | None = Field(default=None, description="The lowest value allowed, whatever was seen.")
    maximum: float | None = Field(default=None, description="The highest value allowed, whatever was seen.")


class AcceptBreaking(Section):
    """Breaks that somebody answers for."""

    version: int = Field(ge=1, description="The live version whose callers are ready; for any other it says nothing.")
    reason: Annotated[str, AfterValidator(spec_rules.reason)] = Field(
        max_length=LONGEST_REASON, description="Why, for the ledger."
    )


class ContractSection(Section):
    """What happens to values unlike those that the model was made with."""

    tolerance: float = Field(
        default=TOLERANCE,
        ge=0,
        le=1000,
        description="Room on each side of a range, in spans of what was seen: 0.5 makes 0 to 10 into -5 to 15.",
    )
    mode: ContractMode = Field(
        default="reject",
        description="For a value outside: reject the request, clip it to the nearest limit, or warn and answer.",
    )
    sample: PathInside | None = Field(
        default=None, description="A .csv, .json or .jsonl file in the folder with rows like those of requests."
    )
    fields: dict[Column, FieldContract] = Field(
        default_factory=dict, description="Single inputs, by name: what is known better than a sample shows."
    )
    accept_breaking: AcceptBreaking | None = Field(
        default=None, description="Lets retraining register a version that breaks callers of one live version."
    )


class ModelSpec(Section):
    """A whole ``model.toml``."""

    model: ModelSection
    endpoint: EndpointSection = EndpointSection()
    training: TrainingSection | None = None
    triggers: list[Trigger] = Field(default_factory=list)
    evaluation: EvaluationSection | None = None
    contract: ContractSection = ContractSection()
    server: ServerSection = ServerSection()
    rollout: RolloutSection = RolloutSection()
    monitoring: MonitoringSection = MonitoringSection()

    @property
    def engine(self) -> Engine:
        """What runs the model: as the spec says, else lean but for a GPU, and code or an app of the model's own."""
        if self.endpoint.engine != "auto":
            return self.endpoint.engine
        own = self.model.code is not None or self.model.app is not None
        return "standard" if own or self.server.wants_gpu else "lean"

    @property
    def kind(self) -> Kind | None:
        """Which kind of SageMaker endpoint answers; None where a Lambda function does."""
        return KINDS.get(self.endpoint.target)

    @property
    def timeout_s(self) -> int:
        """Deadline of one prediction, in seconds: an async endpoint has its own, since no caller waits."""
        return self.server.timeout_s if self.kind == "async" else self.endpoint.timeout_s

    @property
    def retraining_triggers(self) -> tuple[Trigger, ...]:
        """What starts a run: the spec's triggers, or any CSV file below ``<name>/`` when it names none."""
        if self.training is None:
            return ()
        return tuple(self.triggers) or (Trigger(),)

    @property
    def upload_places(self) -> tuple[tuple[str, str], ...]:
        """Prefix and suffix of the keys in the data bucket that are training files, each pair once.

        A file that no trigger waits for is accepted as well: a scheduled run learns from what has come meanwhile.
        """
        places = [
            (trigger.prefix or f"{self.model.name}/", trigger.suffix)
            for trigger in self.retraining_triggers
            if trigger.kind in {"upload", "labels"}
        ]
        if self.training is not None and not places:
            places.append((f"{self.model.name}/", Trigger().suffix))
        return tuple(dict.fromkeys(places))

    @property
    def upload_prefix(self) -> str:
        """Where ``modelyard upload`` puts training files in the data bucket."""
        places = self.upload_places
        return places[0][0] if places else f"{self.model.name}/"


class Model(BaseModel):
    """A spec together with the folder that it was read from."""

    model_config = ConfigDict(frozen=True)

    spec: ModelSpec
    folder: Annotated[Path, Field(description="models/<name>")]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.model.name

    @property
    def training_entry(self) -> str | None:
        """What of its own trains it: ``package.module:function`` under ``python/``, or a notebook."""
        return None if self.spec.training is None else self.spec.training.entry

    @property
    def notebook(self) -> str | None:
        """The notebook that trains it, as a path inside the folder."""
        entry = self.training_entry
        return entry if entry is not None and entry.endswith(".ipynb") else None

    @property
    def code_folder(self) -> Path | None:
        """``python/`` of a model whose endpoint runs code of its own; code that only trains does not count."""
        own = self.spec.model.code is not None or self.spec.model.app is not None
        return self.folder / "python" if own else None

    def training_files(self) -> list[Path]:
        """The training files in the order of their names; empty for a model that is brought."""
        if self.spec.training is None:
            return []
        return sorted((self.folder / self.spec.training.data).glob("*.csv"))


def parse_model(text: str, *, file: str) -> ModelSpec:
    """Parse and validate the text of a ``model.toml``.

    Raises:
        SpecError: With every finding, as ``file: key: what is wrong``.
    """
    document = read_toml(text, file=file)
    return validate(ModelSpec, document, file=file, rules=_rules(document), docs=SPEC_DOCS)


def _rules(document: dict[str, Any]) -> list[Problem]:
    return [
        *spec_rules.disagreements(document),
        *spec_retraining_rules.disagreements(document),
        *spec_rollout_rules.disagreements(document),
        *spec_server_rules.disagreements(document),
    ]


def load_model(folder: Path) -> Model:
    """Read ``folder/model.toml`` and check that what it names is there.

    Raises:
        SpecError: With every finding.
    """
    shown = f"{folder.parent.name}/{folder.name}/{SPEC_FILE}"
    try:
        document = read_toml_file(folder / SPEC_FILE, file=shown)
    except FileNotFoundError as missing:
        raise SpecError(
            f"{shown}: not found", findings=(f"{shown}: not found",), next_step="Run 'modelyard init' to write one."
        ) from missing
    rules = [*_rules(document), *spec_rules.wrong_files(document, folder)]
    return Model(spec=validate(ModelSpec, document, file=shown, rules=rules, docs=SPEC_DOCS), folder=folder)


def load_models(folder: Path) -> list[Model]:
    """Every model under ``folder`` (``models/``), sorted by name.

    Raises:
        SpecError: With the findings of all files together.
    """
    models: list[Model] = []
    failed: list[SpecError] = []
    for spec_file in sorted(folder.glob(f"*/{SPEC_FILE}")):
        try:
            models.append(load_model(spec_file.parent))
        except SpecError as error:
            failed.append(error)
    findings = [f"{folder.name}/{name}/{SPEC_FILE}: {said}" for name, said in spec_server_rules.different_hosts(models)]
    if findings:
        failed.append(SpecError("\n".join(findings), findings=tuple(findings), next_step="Make them the same."))
    if len(failed) == 1:
        raise failed[0]
    if failed:
        everything = tuple(finding for error in failed for finding in error.findings)
        raise SpecError(
            "\n".join(everything), findings=everything, next_step=f"Correct the files; {SPEC_DOCS} explains every key."
        )
    return models


def contract_rules(spec: ModelSpec) -> dict[str, Any]:
    """What a spec says about contracts, as ``modelyard.contract.rules.Rules`` reads it."""
    return spec.contract.model_dump(mode="json", exclude={"sample"})


def training_plan(spec: ModelSpec) -> dict[str, Any]:
    """The part of a spec that the retraining functions need, as plain JSON.

    It travels as the workflow's input, so the functions need no pydantic and no file.
    """
    if spec.training is None or spec.evaluation is None:
        raise ValueError(f"model {spec.model.name!r} is not trained here")
    return {
        "model": spec.model.name,
        "task": spec.model.task,
        "about": spec.model.model_dump(mode="json", include={"description", "owner", "tags"}),
        "training": spec.training.model_dump(mode="json", exclude={"data"}),
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "contract": contract_rules(spec),
        "automatic": spec.rollout.automatic,
        "triggers": [
            {**trigger.model_dump(mode="json"), "prefix": trigger.prefix or f"{spec.model.name}/"}
            for trigger in spec.retraining_triggers
        ],
    }
