"""FastAPI with an ``async def`` route: the model runs on the event loop."""

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from scoring import predictions, session_of

session = session_of(os.environ["MODEL_FILE"])


class Request(BaseModel):
    instances: list[list[float]]


class Response(BaseModel):
    predictions: list[dict[str, Any]]


app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    return Response(predictions=predictions(session, request.instances))
