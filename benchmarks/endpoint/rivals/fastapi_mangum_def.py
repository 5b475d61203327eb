"""FastAPI under Mangum, with a plain ``def`` route, which FastAPI runs in a thread; the model is a file."""

from typing import Any

from fastapi import FastAPI
from fastapi_mangum import Request, Response, logger, session
from mangum import Mangum
from scoring import predictions

app = FastAPI()


@app.post("/models/{model}/predict")
def predict(model: str, request: Request) -> Response:
    answer: list[dict[str, Any]] = predictions(session, request.instances)
    logger.info("%s answered %s instances", model, len(answer))
    return Response(model=model, version=1, predictions=answer)


handler = Mangum(app, lifespan="off")
