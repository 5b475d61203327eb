"""A FastAPI app as a model's own package would hold one; it answers with the model ``sums``, and in every odd way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel

from modelyard.serving.app import LiveVersion, RequestContext, live_version, request_context
from modelyard.serving.audit import write_event

NOTES: list[str] = []
"""What has happened; each is an event line as well."""

BETWEEN = threading.Barrier(2, timeout=20)
"""Where `/twice` waits between its two predictions, until a test has been there twice."""


def note(said: str) -> None:
    NOTES.append(said)
    write_event(said)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    note("startup")
    yield {"opened": asyncio.Queue()}
    note("shutdown")


app = FastAPI(lifespan=lifespan)
Model = Annotated[LiveVersion, Depends(live_version)]
Asked = Annotated[RequestContext, Depends(request_context)]


class Row(BaseModel):
    left: float
    right: float


@app.post("/sum")
async def sum_of(row: Row, model: Model) -> dict[str, Any]:
    (answer,) = model.predict([[row.left, row.right]])
    return {"sum": answer, "version": model.version, "digest": model.digest, "prediction": model.prediction_id}


@app.post("/plain")
def plain(row: Row, model: Model) -> dict[str, Any]:
    return {"sum": model.predict([[row.left, row.right]])[0], "thread": threading.current_thread().name}


@app.post("/instances")
async def instances(request: Request, model: Model) -> dict[str, Any]:
    predictions, warnings = model.answer(await request.body())
    return {"predictions": predictions, "warnings": warnings, "model": model.model}


@app.post("/twice")
def twice(row: Row, model: Model, again: Model) -> dict[str, Any]:
    first = model.predict([[row.left, row.right]])
    BETWEEN.wait()
    BETWEEN.wait()
    return {
        "predictions": [*first, *again.predict([[row.left, row.right]])],
        "versions": [model.version, again.version],
    }


@app.get("/")
async def root(request: Request) -> dict[str, Any]:
    return {"url": str(request.url), "root_path": request.scope["root_path"], "link": str(request.url_for("who"))}


@app.get("/who")
async def who(asked: Asked) -> dict[str, Any]:
    return {"caller": asked.caller, "account": asked.account, "request_id": asked.request_id}


@app.get("/echo/{rest:path}")
async def echo(rest: str, request: Request) -> dict[str, Any]:
    return {"rest": rest, "query": request.query_params.multi_items(), "cookies": request.cookies}


@app.post("/bytes")
async def raw(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/loop")
async def loop() -> dict[str, Any]:
    return {"loop": id(asyncio.get_running_loop()), "thread": threading.current_thread().name}


@app.get("/put/{item}")
async def put(item: int, request: Request) -> None:
    await request.state.opened.put(item)


@app.get("/take")
async def take(request: Request) -> int:
    item: int = await asyncio.wait_for(request.state.opened.get(), 5)
    return item


def opened() -> Iterator[str]:
    note("opened")
    try:
        yield "resource"
    finally:
        note("closed")


@app.get("/yield")
async def yielded(resource: Annotated[str, Depends(opened)], fail: bool = False) -> str:
    if fail:
        raise KeyError(resource)
    return resource


@app.get("/later")
async def later(tasks: BackgroundTasks, model: Model, seconds: float = 0.0, fail: bool = False) -> str:
    async def work() -> None:
        note("background began")
        await asyncio.sleep(seconds)
        if fail:
            raise ValueError("the background task")
        note(f"background {model.predict([[1, 1]])[0]}")

    tasks.add_task(work)
    return "at once"


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@app.get("/page", response_class=HTMLResponse)
async def page() -> str:
    return "<h1>Grüße</h1>"


@app.get("/cookies")
async def cookies(response: Response) -> None:
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    response.headers["x-place"] = "Zürich"


@app.get("/large/{size}")
async def large(size: int, letter: str = "a") -> Response:
    return Response(letter * size, media_type="text/plain")


@app.get("/stream/{chunks}")
async def stream(chunks: int, size: int = 10, binary: bool = False, fail: bool = False) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            await asyncio.sleep(0)
            yield (b"\xff" if binary else b"x") * size
        note("all sent")
        if fail:
            raise ValueError("in the middle")

    return StreamingResponse(parts(), media_type="application/zip" if binary else "text/plain")


@app.get("/status/{status}")
async def status(status: int) -> JSONResponse:
    return JSONResponse({"own": status}, status_code=status)


@app.get("/raises/{what}")
async def raises(what: str, model: Model) -> None:
    if what == "teapot":
        raise HTTPException(418, "a teapot")
    if what == "exit":
        raise SystemExit("secret")
    if what == "wrong":
        model.predict([["no number", 1]])
    raise RuntimeError("secret")


@app.get("/refuses")
async def refuses(model: Model) -> None:
    model.predict([[1, 2]])
    raise HTTPException(409, "after a prediction")


@app.get("/interrupts")
async def interrupts() -> str:
    async def leave() -> None:
        raise SystemExit(3)

    asyncio.get_running_loop().create_task(leave())
    await asyncio.sleep(0.01)
    return "still here"
