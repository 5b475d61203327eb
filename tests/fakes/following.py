"""A follower of one model's pointer, with a bucket in memory and clocks that a test turns by hand."""

import json

from modelyard.predictor.predictor import Predictor
from modelyard.serving.follow import PointerFollower
from tests.fakes import onnx_models
from tests.fakes.objects import InMemoryObjects, promote

REFRESH_S = 10.0
POINTER = "deployments/sums.json"


class Clocks:
    """A monotonic and a wall clock that a test moves."""

    def __init__(self) -> None:
        self.monotonic = 1000.0
        self.wall = 1_795_255_200.0

    def __call__(self) -> tuple[float, float]:
        return self.monotonic, self.wall

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def freeze(self, seconds: float) -> None:
        """Time that only the world outside noticed."""
        self.wall += seconds


class Scene:
    """The follower of the model ``sums``, its bucket and its clocks.

    Attributes:
        loads: Versions in the order in which they were loaded.
    """

    def __init__(self) -> None:
        self.objects = InMemoryObjects()
        self.clocks = Clocks()
        self.loads: list[int] = []
        self.follower = PointerFollower(
            self.objects, "sums", refresh_s=REFRESH_S, load=self._load, now=self.clocks, patience_s=5.0
        )

    def _load(self, deployed, fetch):
        model = fetch(deployed.file)
        self.loads.append(deployed.version)
        return Predictor.load(model, signature=deployed.signature)

    def promote(self, version: int, revision: int) -> dict:
        """Put a version live whose answers are its number; its pointer is returned."""
        return promote(self.objects, "sums", onnx_models.row_sum(float(version)), version=version, revision=revision)

    def answering(self) -> int:
        """The version that answers a request now, told by its answer."""
        live = self.follower.current()
        assert live.predictor.predict([[0.0, 0.0]]) == [float(live.version)]
        return live.version

    def settle(self) -> None:
        """Wait for a check in the background."""
        self.follower.wait(5.0)

    def checks(self) -> int:
        """How often the pointer was looked at."""
        return self.objects.reads.count(POINTER)


def events(capsys) -> list[dict]:
    """The lines that were logged since the last look."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
