"""An endpoint that answers as AWS does when something is wrong with the caller, over real HTTP."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

Answer = tuple[int, str]
Answers = Callable[[str], Answer]
"""From the name of an operation, like ``GetCallerIdentity``, to a status and a body."""

_SPACE = "xmlns='https://example.invalid/'"


def refusal(code: str, message: str = "no", status: int = 400) -> Answer:
    """An error of a service that speaks XML."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, f"<ErrorResponse {_SPACE}>{error}<RequestId>1</RequestId></ErrorResponse>"


def identity(account: str) -> Answer:
    """Who the caller is."""
    found = f"<Arn>arn:aws:iam::{account}:user/ana</Arn><UserId>A</UserId><Account>{account}</Account>"
    return 200, (
        f"<GetCallerIdentityResponse {_SPACE}><GetCallerIdentityResult>{found}</GetCallerIdentityResult>"
        "</GetCallerIdentityResponse>"
    )


def stack(**outputs: str) -> Answer:
    """A stack that is deployed."""
    members = "".join(
        f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
        for key, value in outputs.items()
    )
    inside = f"<member><StackName>s</StackName><Outputs>{members}</Outputs></member>"
    return 200, (
        f"<DescribeStacksResponse {_SPACE}><DescribeStacksResult><Stacks>{inside}</Stacks></DescribeStacksResult>"
        "</DescribeStacksResponse>"
    )


EMPTY_TABLE: Answer = (200, json.dumps({"Items": [], "Count": 0, "ScannedCount": 0}))


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """The URL of an endpoint that gives these answers while the context lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            target = self.headers.get("X-Amz-Target", "")
            name = target.rpartition(".")[2] or parse_qs(asked.decode()).get("Action", [""])[0]
            status, body = answers(name)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
