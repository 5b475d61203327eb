"""FastAPI with a plain ``def`` route, which it runs in a thread."""

from fastapi import FastAPI
from fastapi_async import Request, Response, session
from scoring import predictions

app = FastAPI()


@app.post("/predict")
def predict(request: Request) -> Response:
    return Response(predictions=predictions(session, request.instances))
