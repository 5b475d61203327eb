"""Captured traffic as the endpoint writes it, in a project whose registry is in memory, for tests of ``replay``."""

import contextlib
import functools
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.admission import admit
from modelyard.contract.document import parse
from modelyard.predictor.predictor import Predictor
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.capture import Capture
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.follow import PointerFollower
from modelyard.version import Lineage, Version
from tests.fakes.command_line import CommandLine, Ended
from tests.fakes.endpoint import CONTEXT, Answer, event
from tests.fakes.forecasts import INPUTS
from tests.fakes.objects import InMemoryObjects, promote

NAME = "sums"
admit_once = functools.cache(admit)
POLICY = """
[rollout]
mode = "gradual"
shadow_budget_mb = 400.0

[rollout.policy]
min_samples = 50
max_error_rate = 0.01
max_latency_ratio = 50.0
"""
"""About 80 requests without an error are enough by it; and a busy machine is no reason to abort."""
ENOUGH = 230


class Traffic:
    """An endpoint of one version that captures everything it answers.

    Args:
        onnx: What answers.
        version: Its number.
        redact: Inputs that are not kept.
        code: The model's own hooks.
        contract: In JSON form.
    """

    def __init__(
        self,
        onnx: bytes,
        *,
        version: int = 1,
        redact: Iterable[str] = (),
        code: Any = None,
        contract: dict[str, Any] | None = None,
    ) -> None:
        self.objects = InMemoryObjects()
        pointer = promote(self.objects, NAME, onnx, version=version, revision=1)
        pointer["champion"]["contract"] = contract
        self.objects.put(f"deployments/{NAME}.json", json.dumps(pointer).encode())

        def load(deployed: Any, fetch: Any) -> Predictor:
            given = None if deployed.contract is None else parse(deployed.contract)
            return Predictor.load(fetch(deployed.file), signature=deployed.signature, contract=given, code=code)

        self.afterwards = Afterwards()
        capture = Capture(self.objects, model=NAME, share=1.0, age_s=3600, redact=frozenset(redact))
        self.afterwards.attend(capture)
        follower = PointerFollower(self.objects, NAME, refresh_s=3600.0, load=load)
        self.endpoint = Endpoint(follower, model=NAME, afterwards=self.afterwards, capture=capture)
        self.endpoint.start()
        self.ids: list[str] = []

    def send_all(self, requests: Iterable[list[Any]]) -> "Traffic":
        """Many requests."""
        for asked in requests:
            self.send(*asked)
        return self

    def send(self, *instances: Any) -> dict[str, Any]:
        """One request; its answer."""
        body = json.dumps({"instances": list(instances)})
        made = event("POST", f"/models/{NAME}/predict", body, headers={"content-type": "application/json"})
        with contextlib.redirect_stdout(io.StringIO()):  # hundreds of audit lines
            answer = Answer(self.endpoint.handle(made, CONTEXT))
        assert answer.status == 200, answer.json
        self.ids.append(answer.json["prediction_id"])
        return dict(answer.json)

    def files(self) -> dict[str, bytes]:
        """What was captured, by key."""
        assert self.afterwards.flush(10.0)
        return {key: body for key, body in self.objects._objects.items() if key.startswith("captures/")}


class ReplayLine(CommandLine):
    """A project with the model ``sums``, which tells three kinds of weather apart by three numbers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, monkeypatch, capsys)
        self.spec = self.folder / "models" / NAME / "model.toml"
        self.write(POLICY, task="multiclass")

    def write(self, more: str, *, task: str = "multiclass", model: str = "") -> None:
        """A spec with these sections."""
        self.spec.write_text(
            f'[model]\nname = "{NAME}"\ntask = "{task}"\nartifact = "model.onnx"\n{model}{more}', encoding="utf-8"
        )

    def version(self, onnx: bytes, *, code_digest: str | None = None, **parts: Any) -> Version:
        """Register a model."""
        lineage = Lineage(code_digest=code_digest)
        return self.add(
            NAME, onnx, **{"task": "multiclass", "signature": admit_once(onnx), "lineage": lineage, **parts}
        )

    def live(self, onnx: bytes, **parts: Any) -> Version:  # type: ignore[override]
        """Register a model and make it the champion."""
        version = self.version(onnx, **parts)
        self.registry().promote(NAME, version.number)
        return version

    def capture(self, traffic: Traffic) -> list[dict[str, Any]]:
        """Put what an endpoint captured into the bucket; the records."""
        files = traffic.files()
        for key, body in files.items():
            self.artifacts.put_if_absent(key, body, content_type="application/x-ndjson")
        return [json.loads(line) for body in files.values() for line in body.splitlines()]

    def label(self, labels: Iterable[tuple[str, Any]], at: str) -> None:
        """Put labels into the bucket."""
        lines = [
            msgspec.json.encode({"prediction_id": one, "row": 0, "label": label, "time": at}) for one, label in labels
        ]
        key = f"feedback/{NAME}/date={at[:10]}/hour={at[11:13]}/0000.000000-00.jsonl"
        self.artifacts.put_if_absent(key, b"\n".join(lines), content_type="application/x-ndjson")

    def replay(self, *arguments: str) -> tuple[Ended, dict[str, Any]]:
        """Run the command; how it ended, and its JSON."""
        ended = self.run("replay", NAME, *arguments, "--json")
        assert "Traceback" not in ended.err + ended.out, ended.err
        return ended, json.loads(ended.out) if ended.out else {}


def weather(requests: int = ENOUGH, *, seed: int = 0, rows: int = 1) -> list[list[dict[str, float]]]:
    """Requests of a `forecast`; about one in forty has its first input above 4."""
    draw = random.Random(seed)  # noqa: S311 - the requests of a test
    return [[{name: round(draw.gauss(0, 2), 4) for name in INPUTS} for _ in range(rows)] for _ in range(requests)]
