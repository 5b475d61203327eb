"""What most examples of a model on Lambda look like: FastAPI under Mangum, boto3 clients, all of powertools.

The model comes from S3 by boto3. The DynamoDB client is made and not called, and no X-Ray daemon is there, so the
tracer records nothing: both are kinder to it than the cloud is.
"""

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel
from scoring import predictions, session_of

logger, tracer, metrics = Logger(), Tracer(), Metrics()
s3 = boto3.client("s3")
dynamodb = boto3.client("dynamodb")
session = session_of(s3.get_object(Bucket=os.environ["MODEL_BUCKET"], Key=os.environ["MODEL_KEY"])["Body"].read())


class Request(BaseModel):
    instances: list[Any]


class Response(BaseModel):
    model: str
    version: int
    predictions: list[dict[str, Any]]


app = FastAPI()


@tracer.capture_method(capture_response=False)
def score(instances: list[Any]) -> list[dict[str, Any]]:
    return predictions(session, instances)


@app.post("/models/{model}/predict")
def predict(model: str, request: Request) -> Response:
    answer = score(request.instances)
    metrics.add_metric(name="instances", unit=MetricUnit.Count, value=len(answer))
    logger.info("answered", extra={"model": model, "instances": len(answer)})
    return Response(model=model, version=1, predictions=answer)


mangum = Mangum(app, lifespan="off")


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event, context):
    return mangum(event, context)
