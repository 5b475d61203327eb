"""Chalice: a route by decorator; the application itself is Lambda's entry point. The model is a file."""

import os

from chalice import Chalice
from scoring import predictions, session_of

app = Chalice(app_name="rival")
app.log.setLevel("INFO")
session = session_of(os.environ["MODEL_FILE"])


@app.route("/models/{model}/predict", methods=["POST"])
def predict(model):
    answer = predictions(session, app.current_request.json_body["instances"])
    app.log.info("answered %s instances", len(answer))
    return {"model": model, "version": 1, "predictions": answer}


handler = app
