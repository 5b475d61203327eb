"""The floor: an ASGI app that does what has to be done and nothing else. No framework, no checks, no log, no errors.

It answers in columns, an array for each output, as orjson writes numpy's arrays. That costs less than one object for
each row, which is what the others answer.
"""

import os

import numpy as np
import orjson
from scoring import session_of

session = session_of(os.environ["MODEL_FILE"])


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body")
    rows = np.array(orjson.loads(body)["instances"], dtype=np.float32)
    labels, probabilities = session.run(None, {"x": rows})
    answer = orjson.dumps({"label": labels, "probabilities": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _live(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
