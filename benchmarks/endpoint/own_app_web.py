"""The app of `own_app.py`: an ``async def`` route that checks its body with pydantic and predicts."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from modelyard.serving.app import LiveVersion, live_version


class Request(BaseModel):
    instances: list[Any]


class Response(BaseModel):
    model: str
    version: int
    predictions: list[dict[str, Any]]


app = FastAPI()


@app.post("/predict")
async def predict(request: Request, model: Annotated[LiveVersion, Depends(live_version)]) -> Response:
    return Response(model=model.model, version=model.version, predictions=model.predict(request.instances))
