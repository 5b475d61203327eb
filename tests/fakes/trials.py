"""An endpoint with versions on trial, without Lambda and S3: a bucket in memory, and captures that can be read."""

import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.predictor.predictor import EngineName, Predictor
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.capture import Capture
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.feedback import Feedback
from modelyard.serving.follow import PointerFollower
from modelyard.serving.on_trial import OnTrial
from modelyard.serving.trial_settings import TrialSettings
from modelyard.traffic import POINTS, points_of, reassign, whole
from tests.fakes import onnx_models
from tests.fakes.endpoint import Answer, event
from tests.fakes.objects import InMemoryObjects, pointer_to

NAME = "sums"
ENGINES = ["lean", "standard"]


class TrialStand:
    """The model ``sums``: version 1 is live, others are put on trial.

    Args:
        champion: Its ONNX file.
        engine: Which engine runs everything.
        capture: Share of the requests kept without a trial; None: nothing is.
        settings: Of `TrialSettings`.
    """

    def __init__(
        self,
        champion: bytes,
        *,
        engine: EngineName = "lean",
        capture: float | None = None,
        capture_on_trial: float = 1.0,
        **settings: Any,
    ) -> None:
        self.objects = InMemoryObjects()
        self.engine: EngineName = engine
        self.loads: list[int] = []
        self.files = {1: champion}
        self.revision = 0
        self.afterwards = Afterwards()
        self.follower = PointerFollower(self.objects, NAME, refresh_s=0.0, load=self._load)
        kept = None
        if capture is not None:
            kept = Capture(self.objects, model=NAME, share=capture, age_s=3600)
            self.afterwards.attend(kept)

        def make_on_trial() -> OnTrial:
            used = kept or Capture(self.objects, model=NAME, share=0.0, age_s=3600)
            if kept is None:
                self.afterwards.attend(used)
            return OnTrial(used, self.afterwards, TrialSettings(capture=capture_on_trial, **settings), model=NAME)

        self.endpoint = Endpoint(
            self.follower,
            model=NAME,
            afterwards=self.afterwards,
            capture=kept,
            make_on_trial=make_on_trial,
            make_feedback=lambda: Feedback(self.objects, model=NAME, wait_s=5.0),
        )
        self.promote(1, champion)
        self.endpoint.start()

    def _load(self, deployed: Any, fetch: Any) -> Predictor:
        model = fetch(deployed.file)
        self.loads.append(deployed.version)
        return Predictor.load(model, signature=deployed.signature, engine=self.engine)

    # -- what the registry does --------------------------------------------------------------------------------------

    def promote(self, version: int, onnx: bytes | None = None) -> None:
        """Make a version the champion; whatever is on trial is so no more."""
        if onnx is not None:
            self.files[version] = onnx
        self.champion = version
        self._publish("live", [], [], "")

    def end(self) -> None:
        """End the trial."""
        self._publish("live", [], [], "")

    def shadow(self, version: int, onnx: bytes | None = None, **options: Any) -> None:
        """Put a version on trial, unseen."""
        if onnx is not None:
            self.files[version] = onnx
        self._publish("shadow", [version], [], "", **options)

    def canary(self, shares: Mapping[int, float], *, salt: str = "sums/2", **options: Any) -> None:
        """Put versions on trial, each with its share in percent."""
        points = {version: points_of(share) for version, share in shares.items()}
        slots = reassign(whole(self.champion), {self.champion: POINTS - sum(points.values()), **points})
        told = [{"until": slot.until, "version": slot.version} for slot in slots]
        self._publish("canary", list(shares), told, salt, **options)

    def _publish(
        self, mode: str, versions: list[int], slots: list[Any], salt: str, *, wait: bool = True, **more: Any
    ) -> None:
        self.revision += 1
        targets = []
        for version in (self.champion, *versions):
            onnx = self.files[version]
            made = pointer_to(NAME, onnx, version=version, revision=self.revision)
            self.objects.put(made["champion"]["key"], onnx)
            targets.append(made["champion"])
        pointer = {
            **made, "mode": mode, "champion": targets[0], "challenger": targets[1] if versions else None,
            "others": targets[2:], "slots": slots, "salt": salt, **(more.get("damage") or {}),
        }  # fmt: skip
        self.objects.put(f"deployments/{NAME}.json", json.dumps(pointer).encode())
        if wait:
            self.settle()

    def settle(self) -> None:
        """Wait until the endpoint has what the pointer names."""
        self.follower.check_now()
        challengers = self.follower._challengers
        if challengers is not None:
            challengers.wait(10.0)

    # -- what callers do ---------------------------------------------------------------------------------------------

    def send(self, made: Any, request_id: str | None = None) -> Answer:
        if request_id is not None:
            made["requestContext"]["requestId"] = request_id
        return Answer(self.endpoint.handle(made, SimpleNamespace(aws_request_id="lambda")))

    def predict(self, *instances: Any, request_id: str | None = None, **headers: str) -> Answer:
        body = json.dumps({"instances": list(instances)})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        made = event("POST", f"/models/{NAME}/predict", body, headers={"content-type": "application/json", **named})
        return self.send(made, request_id)

    def records(self) -> list[dict[str, Any]]:
        """Everything that was captured until now, when the work after the answers is done."""
        self.wait()
        assert self.afterwards.flush(10.0)
        keys = sorted(key for key in self.objects._objects if key.startswith("captures/"))
        lines = [json.loads(line) for key in keys for line in self.objects._objects[key].splitlines()]
        return sorted(lines, key=lambda line: line["time"])

    def wait(self) -> None:
        """Wait until no work waits for its turn."""
        ends = time.monotonic() + 10
        while self.afterwards.pending() and time.monotonic() < ends:
            time.sleep(0.001)


def adds(number: float) -> bytes:
    """A model that adds a number to the sum of a row, so an answer tells who gave it."""
    return onnx_models.row_sum(number)


def four_versions() -> TrialStand:
    """Version 1 is live, 2 to 4 may be put on trial; each adds its number."""
    made = TrialStand(adds(1))
    made.files |= {2: adds(2), 3: adds(3), 4: adds(4)}
    return made


def lines(capsys: pytest.CaptureFixture[str], kind: str) -> list[dict[str, Any]]:
    """What was logged, of one kind."""
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line["kind"] == kind]


def infer(stand: TrialStand, rows: list[list[float]], *, version: str = "", request_id: str = "r") -> Any:
    body = {"inputs": [{"name": "x", "shape": [len(rows), 2], "datatype": "FP32", "data": rows}]}
    path = f"/v2/models/{NAME}{version}/infer"
    made = event("POST", path, json.dumps(body), headers={"content-type": "application/json"})
    return stand.send(made, request_id)
