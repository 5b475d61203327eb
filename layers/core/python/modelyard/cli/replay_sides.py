"""The two versions of a replay: what was typed for them, and the files and settings that each is asked with."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.cli.session import Session
from modelyard.errors import ConflictError, UsageError
from modelyard.replay.judging import Side

if TYPE_CHECKING:
    from modelyard.replay.subject import Subject
    from modelyard.spec import Model
    from modelyard.version import Version

ADDRESS_MB = 1024
"""Of a process's address space beside the function's memory and the model: libraries are mapped, not all is used."""

UNBOUNDED = 1e12
"""The champion's budgets."""


@dataclass(frozen=True, slots=True)
class Asks:
    """What was typed.

    Attributes:
        name: The model.
        version: The candidate's number, or None.
        file: Its ONNX file, or None.
        against: The champion's number, or None.
        against_file: Its ONNX file, or None.
        recorded: Whether the champion's answers are those that were captured.
    """

    name: str
    version: int | None
    file: Path | None
    against: int | None
    against_file: Path | None
    recorded: bool

    def __post_init__(self) -> None:
        """Refuse what cannot be together.

        Raises:
            UsageError: With code ``conflicting_options``.
        """
        for one, other, both in (
            ("--version", "--model", self.version is not None and self.file is not None),
            ("--against", "--against-model", self.against is not None and self.against_file is not None),
            ("--recorded", "--against-model", self.recorded and self.against_file is not None),
        ):
            if both:
                raise UsageError(
                    f"{one} and {other} say two things about one version",
                    code="conflicting_options",
                    field=other.lstrip("-"),
                    next_step=f"Leave one of {one} and {other} out.",
                )


@dataclass(slots=True)
class Sides:
    """Both versions, ready to be asked.

    Attributes:
        candidate: Who is judged.
        champion: Who it is compared with; None where its captured answers are taken.
        candidate_side: The candidate, as people know it.
        champion_side: The champion.
        remarks: What a reader must know of them, as sentences.
    """

    candidate: "Subject"
    candidate_side: Side
    champion: "Subject | None"
    champion_side: Side
    remarks: list[str] = field(default_factory=list)


def find_sides(session: Session, model: "Model", asks: Asks, folder: Path) -> Sides:
    """Get both versions; their files are written into ``folder``.

    Raises:
        ModelyardError: When there is no such version or file, or it is not what it should be.
    """
    finding = _Finding(session, model, folder)
    # A file first: what is wrong with it is said before the first AWS call.
    candidate = None if asks.file is None else finding.file(asks.file)
    champion: tuple[Subject | None, Side] | None = None
    number = asks.against
    if asks.against_file is not None:
        champion = finding.file(asks.against_file)
    elif number is None:
        number = _live(session, asks.name)
    if candidate is None:
        candidate = finding.candidate(_candidate(session, asks, number))
    if champion is None and number is not None:
        champion = finding.recorded(number) if asks.recorded else finding.champion(number)
    assert champion is not None  # noqa: S101 - a file or a number, of which there is one by now
    subject, side = champion
    return Sides(
        candidate=finding.bounded(candidate[0]),
        candidate_side=candidate[1],
        champion=subject,
        champion_side=side,
        remarks=finding.remarks,
    )


def _candidate(session: Session, asks: Asks, champion: int | None) -> "Version":
    number = asks.version or session.registry.model(asks.name).versions
    if asks.version is None and number == champion:
        raise UsageError(
            f"version {number} of {asks.name!r} is the newest and the champion; there is nothing to compare",
            code="nothing_to_replay",
            field="version",
            next_step="Name a candidate with --version or --model, or another champion with --against.",
        )
    return session.registry.version(asks.name, number)


def _live(session: Session, name: str) -> int:
    session.registry.model(name)  # says so when there is no such model
    live = session.registry.deployment(name)
    if live is None:
        raise ConflictError(
            f"model {name!r} has no live version to compare with",
            code="no_champion",
            next_step="Name one with --against VERSION or --against-model FILE.",
        )
    return live.champion


class _Finding:
    """Gets versions of one model.

    Attributes:
        remarks: What was noticed on the way.
    """

    def __init__(self, session: Session, model: "Model", folder: Path) -> None:
        self._session = session
        self._model = model
        self._folder = folder
        self.remarks: list[str] = []

    def file(self, file: Path) -> "tuple[Subject, Side]":
        """A file, as it would be registered: admitted, and with the contract that the spec gives it."""
        import msgspec

        from modelyard.cli.bring import admitted, contract_of

        body, signature = admitted(file)
        contract = contract_of(self._model, signature)
        subject = self._subject(body, signature=msgspec.to_builtins(signature), contract=contract)
        return subject, Side(name=file.name, digest=subject.digest)

    def candidate(self, version: "Version") -> "tuple[Subject, Side]":
        """A registered version that is judged."""
        if self._has_other_code(version):
            self.remarks.append(
                f"version {version.number} was registered with other code of its own; it is asked with this project's"
            )
        return self._registered(version)

    def champion(self, number: int) -> "tuple[Subject | None, Side]":
        """A registered version that others are compared with; its captured answers where its own code is not here."""
        version = self._session.registry.version(self._model.name, number)
        if not self._has_other_code(version):
            return self._registered(version)
        self.remarks.append(
            f"version {number} was registered with other code of its own than this project has; its answers are those "
            "that were captured"
        )
        return self.recorded(number)

    def recorded(self, number: int) -> "tuple[None, Side]":
        """A version whose captured answers are taken."""
        return None, Side(name=f"version {number} as captured", version=number, recorded=True)

    def bounded(self, subject: "Subject") -> "Subject":
        """The candidate, within the budgets of a shadow."""
        import msgspec

        from modelyard.serving.on_trial import SHARE_OF_TIMEOUT, TIMES_BUDGET

        spec = self._model.spec
        longest_s = TIMES_BUDGET * spec.rollout.shadow_budget_ms / 1000
        return msgspec.structs.replace(
            subject,
            limit_s=min(longest_s, SHARE_OF_TIMEOUT * spec.endpoint.timeout_s),
            budget_ms=spec.rollout.shadow_budget_ms,
            budget_mb=spec.rollout.shadow_budget_mb,
        )

    def _registered(self, version: "Version") -> "tuple[Subject, Side]":
        import msgspec

        from modelyard.exporting.folder import check_bytes

        manifest = version.manifest
        stored = self._session.registry.artifacts.get(manifest.key)
        body = check_bytes(version, None if stored is None else stored.body)
        subject = self._subject(body, signature=msgspec.to_builtins(manifest.signature), contract=manifest.contract)
        return subject, Side(name=f"version {version.number}", version=version.number, digest=manifest.digest)

    def _has_other_code(self, version: "Version") -> bool:
        from modelyard.cli.bring import code_digest

        lineage = version.manifest.lineage
        return lineage.source == "brought" and lineage.code_digest != code_digest(self._model)

    def _subject(self, body: bytes, *, signature: dict[str, Any], contract: dict[str, Any] | None) -> "Subject":
        from modelyard.replay.subject import Subject

        spec, folder = self._model.spec, self._model.code_folder
        digest = hashlib.sha256(body).hexdigest()
        path = self._folder / f"{digest}.onnx"
        path.write_bytes(body)
        return Subject(
            model=self._model.name,
            path=str(path),
            digest=digest,
            size=len(body),
            signature=signature,
            contract=contract,
            engine=spec.engine,
            memory_mb=spec.endpoint.memory_mb,
            code=spec.model.code,
            code_folder=None if folder is None else str(folder.resolve()),
            address_mb=ADDRESS_MB + spec.endpoint.memory_mb + 4 * (len(body) >> 20),
            limit_s=float(spec.endpoint.timeout_s),
            budget_ms=UNBOUNDED,
            budget_mb=UNBOUNDED,
        )
