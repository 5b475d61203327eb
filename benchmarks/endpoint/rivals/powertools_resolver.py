"""The router of powertools, with its logger and its metrics; the model is a file beside the code."""

import os

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit
from scoring import predictions, session_of

logger, metrics = Logger(), Metrics()
app = APIGatewayHttpResolver()
session = session_of(os.environ["MODEL_FILE"])


@app.post("/models/<model>/predict")
def predict(model: str):
    answer = predictions(session, app.current_event.json_body["instances"])
    metrics.add_metric(name="instances", unit=MetricUnit.Count, value=len(answer))
    logger.info("answered", extra={"model": model, "instances": len(answer)})
    return {"model": model, "version": 1, "predictions": answer}


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event, context):
    return app.resolve(event, context)
