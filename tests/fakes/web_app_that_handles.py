"""A FastAPI app with a handler for whatever is raised."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()


@app.exception_handler(Exception)
async def sorry(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"sorry": type(error).__name__}, status_code=500)


@app.get("/")
async def root() -> None:
    raise KeyError("secret")
