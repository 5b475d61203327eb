"""FastAPI apps with a handler for whatever is raised; the second would rather show tracebacks."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse


async def sorry(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"sorry": type(error).__name__}, status_code=500)


async def root() -> None:
    raise KeyError("secret")


app = FastAPI(exception_handlers={Exception: sorry})
debugged = FastAPI(exception_handlers={Exception: sorry}, debug=True)
for each in (app, debugged):
    each.get("/")(root)
