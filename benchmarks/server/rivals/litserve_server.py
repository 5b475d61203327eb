"""LitServe: one worker process behind one API process, which is the least that it starts."""

import os
import sys

import litserve
from scoring import predictions, session_of


class Tumours(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002 - LitServe's signature
        self.session = session_of(os.environ["MODEL_FILE"])

    def decode_request(self, request):
        return request["instances"]

    def predict(self, instances):
        return predictions(self.session, instances)

    def encode_response(self, output):
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Tumours(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
        access_log=False,
    )
