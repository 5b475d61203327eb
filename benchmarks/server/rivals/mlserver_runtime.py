"""MLServer: a runtime of one's own, which speaks the Open Inference Protocol."""

import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from scoring import session_of


class Runtime(MLModel):
    async def load(self) -> bool:
        self.session = session_of(os.environ["MODEL_FILE"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        outputs = zip(("label", "probabilities"), self.session.run(None, {"x": rows}), strict=True)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name, array) for name, array in outputs],
        )
