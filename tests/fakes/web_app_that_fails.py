"""A FastAPI app whose startup fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    raise ConnectionError("no database")
    yield


app = FastAPI(lifespan=lifespan)
