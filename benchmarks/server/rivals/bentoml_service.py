"""BentoML: a class with an API method; instances come as the array that the annotation names."""

import os
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType
from scoring import session_of


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Tumours:
    def __init__(self) -> None:
        self.session = session_of(os.environ["MODEL_FILE"])

    @bentoml.api
    async def predict(self, instances: Annotated[np.ndarray, DType("float32")]) -> dict[str, np.ndarray]:
        labels, probabilities = self.session.run(None, {"x": instances})
        return {"label": labels, "probabilities": probabilities}
