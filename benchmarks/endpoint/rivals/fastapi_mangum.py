"""FastAPI under Mangum, with an ``async def`` route; the model is a file beside the code."""

import logging
import os
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel
from scoring import predictions, session_of

logging.getLogger().setLevel(logging.INFO)
logger = logging.getLogger(__name__)
session = session_of(os.environ["MODEL_FILE"])


class Request(BaseModel):
    instances: list[Any]


class Response(BaseModel):
    model: str
    version: int
    predictions: list[dict[str, Any]]


app = FastAPI()


@app.post("/models/{model}/predict")
async def predict(model: str, request: Request) -> Response:
    answer = predictions(session, request.instances)
    logger.info("%s answered %s instances", model, len(answer))
    return Response(model=model, version=1, predictions=answer)


handler = Mangum(app, lifespan="off")
