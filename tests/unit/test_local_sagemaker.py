"""The runtime API of the local SageMaker, asked by boto3: what it takes, what it refuses, and what becomes of both."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from modelyard.errors import NotFoundError, UsageError
from modelyard.local.sagemaker import read_file
from modelyard.local.sagemaker_api import AT_ONCE, LIMITS, LocalEndpoint, LocalSageMaker
from modelyard.plain_http import Answer, Connection
from tests.fakes.asgi_server import AsgiServer
from tests.fakes.objects import InMemoryObjects
from tests.fakes.sagemaker_runtime import wait_until

ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
SMALL = 10_000


class Container:
    """An ASGI app that does as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.lived: list[str] = []
        self.status = 200
        self.answer: bytes | None = None
        self.does: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                what = (await receive())["type"]
                self.lived.append(what)
                await send({"type": f"{what}.complete"})
            return
        if scope["path"] == "/ping":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"pong"})
            return
        assert (scope["method"], scope["path"]) == ("POST", "/invocations")
        body = (await receive())["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((headers, body))
        if self.does is not None:
            await self.does()
            return
        said = [(b"content-type", b"application/json"), (ATTRIBUTES, b'{"status":200}')]
        await send({"type": "http.response.start", "status": self.status, "headers": said})
        await send({"type": "http.response.body", "body": body if self.answer is None else self.answer})


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.fixture
def objects() -> InMemoryObjects:
    return InMemoryObjects()


@pytest.fixture
def served(container, objects, monkeypatch):
    monkeypatch.setitem(LIMITS, "sagemaker-serverless", SMALL)
    endpoints = {
        "small": LocalEndpoint(container, "sagemaker-serverless"),
        "real": LocalEndpoint(container, "sagemaker-realtime"),
        "later": LocalEndpoint(container, "sagemaker-async", "s3://artifacts/out/", "s3://artifacts/failed/"),
    }
    with AsgiServer(LocalSageMaker(endpoints, open_=lambda _name: objects, container_s=0.3)) as server:
        yield server


@pytest.fixture
def client(served):
    made = boto3.Session("AKID", "secret", region_name="eu-west-1").client(
        "sagemaker-runtime", endpoint_url=served.url, config=Config(retries={"total_max_attempts": 1})
    )
    yield made
    made.close()


def refused(call: Any, **arguments: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value


def test_an_invocation_reaches_the_container_with_its_types_and_attributes_and_comes_back(client, container):
    answer = client.invoke_endpoint(
        EndpointName="real", Body=b"[1]", ContentType="application/json", Accept="a/b", CustomAttributes='{"route":"x"}'
    )
    assert answer["Body"].read() == b"[1]"
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("application/json", '{"status":200}')
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    ((headers, body),) = container.asked
    assert body == b"[1]"
    assert headers == {
        "content-type": "application/json",
        "accept": "a/b",
        "x-amzn-sagemaker-custom-attributes": '{"route":"x"}',
        "content-length": "3",
    }


def test_an_unknown_endpoint_is_a_validation_error_in_sagemakers_words(client):
    error = refused(client.invoke_endpoint, EndpointName="nobody", Body=b"")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"] == "Endpoint nobody of account 000000000000 not found."
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("status", [400, 404, 500, 503, 302])
def test_whatever_is_not_2xx_is_a_model_error_with_what_the_container_said(client, container, status):
    container.status, container.answer = status, b'{"code":"model_failed"}'
    error = refused(client.invoke_endpoint, EndpointName="real", Body=b"")
    assert error.response["Error"]["Code"] == "ModelError"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error.response["OriginalStatusCode"] == status
    assert error.response["OriginalMessage"] == '{"code":"model_failed"}'
    assert error.response["LogStreamArn"].startswith("arn:aws:logs:")
    side = "client" if 400 <= status < 500 else "server"
    assert error.response["Error"]["Message"].startswith(f"Received {side} error ({status}) from primary")


async def _silent() -> None:
    await asyncio.sleep(60)


async def _raises() -> None:
    raise RuntimeError("secret")


async def _mute() -> None:
    return None


@pytest.mark.parametrize(("does", "words"), [(_silent, "timed out"), (_raises, "closed"), (_mute, "closed")])
def test_a_container_that_hangs_or_dies_is_a_model_error_without_a_status(client, container, does, words):
    container.does = does
    error = refused(client.invoke_endpoint, EndpointName="real", Body=b"")
    assert (error.response["Error"]["Code"], error.response["OriginalStatusCode"]) == ("ModelError", 0)
    assert words in error.response["OriginalMessage"]
    assert "secret" not in json.dumps(error.response, default=str)


def test_a_body_is_held_to_the_limit_of_the_target_both_ways(client, container):
    assert client.invoke_endpoint(EndpointName="small", Body=b"x" * SMALL)["Body"].read() == b"x" * SMALL
    error = refused(client.invoke_endpoint, EndpointName="small", Body=b"x" * (SMALL + 1))
    assert error.response["Error"]["Code"] == "ValidationError"
    assert f"'body' failed to satisfy constraint: Member must have length less than or equal to {SMALL}" in str(error)
    container.answer = b"x" * (SMALL + 1)
    assert refused(client.invoke_endpoint, EndpointName="small", Body=b"").response["Error"]["Code"] == "ModelError"
    assert client.invoke_endpoint(EndpointName="real", Body=b"")["Body"].read() == container.answer


def test_the_limits_are_sagemakers():
    assert {target: size // 2**20 for target, size in LIMITS.items()} == {
        "sagemaker-serverless": 4,
        "sagemaker-realtime": 25,
        "sagemaker-async": 1024,
    }


def test_attributes_are_held_to_1024_characters(client):
    client.invoke_endpoint(EndpointName="real", Body=b"", CustomAttributes="x" * 1024)
    error = refused(client.invoke_endpoint, EndpointName="real", Body=b"", CustomAttributes="x" * 1025)
    assert "customAttributes" in str(error)


@pytest.mark.parametrize(("name", "call"), [("later", "invoke_endpoint"), ("real", "invoke_endpoint_async")])
def test_an_endpoint_takes_its_own_kind_of_invocation_only(client, name, call):
    more = {"Body": b""} if call == "invoke_endpoint" else {"InputLocation": "s3://artifacts/in"}
    error = refused(getattr(client, call), EndpointName=name, **more)
    assert error.response["Error"]["Code"] == "ValidationError"


def plainly(served: AsgiServer, method: str, path: str, **headers: str) -> Answer:
    connection = Connection(served.url.removeprefix("http://"), timeout_s=5)
    try:
        return connection.call(method, path, headers)
    finally:
        connection.close()


@pytest.mark.parametrize("said", [None, "AWS4-HMAC-SHA256 Credential=A/20261121/eu-west-1/s3/aws4_request, x"])
def test_who_has_not_signed_for_sagemaker_is_refused(served, container, said):
    headers = {} if said is None else {"authorization": said}
    assert plainly(served, "POST", "/endpoints/real/invocations", **headers).status == 403
    assert container.asked == []


def test_ping_is_the_containers_and_another_path_is_nobodys(served):
    assert plainly(served, "GET", "/ping").body == b"pong"
    for method, path in (("GET", "/models"), ("GET", "/endpoints/real/invocations"), ("POST", "/endpoints/a/b")):
        assert plainly(served, method, path).status == 404


def test_containers_start_and_end_with_the_api_each_once(container):
    names = dict.fromkeys(("one", "two"), LocalEndpoint(container, "sagemaker-realtime"))
    with AsgiServer(LocalSageMaker(names)):
        assert container.lived == ["lifespan.startup"]
    assert container.lived == ["lifespan.startup", "lifespan.shutdown"]


def test_a_container_that_does_not_start_is_said():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no model"})

    async def lived() -> Any:
        said: asyncio.Queue[Any] = asyncio.Queue()
        events: asyncio.Queue[Any] = asyncio.Queue()
        await events.put({"type": "lifespan.startup"})
        api = LocalSageMaker({"real": LocalEndpoint(app, "sagemaker-realtime")})
        await asyncio.wait_for(api({"type": "lifespan"}, events.get, said.put), 5)
        return await said.get()

    assert asyncio.run(lived()) == {"type": "lifespan.startup.failed", "message": "no model"}


# -- asynchronous -----------------------------------------------------------------------------------------------------


def later(client: Any, **more: Any) -> Any:
    return client.invoke_endpoint_async(
        EndpointName="later", InputLocation="s3://artifacts/in/1", ContentType="text/csv", InferenceId="mine", **more
    )


def written(objects: InMemoryObjects, location: str) -> bytes:
    """What is written there, sooner or later."""
    found: list[bytes] = []

    def there() -> bool:
        with contextlib.suppress(NotFoundError):
            found.append(objects.get(location.removeprefix("s3://artifacts/"))[0])
        return bool(found)

    wait_until(there)
    return found[0]


def test_an_asynchronous_invocation_is_answered_into_the_bucket(client, container, objects):
    objects.put("in/1", b"1,2")
    answer = later(client, CustomAttributes="{}")
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["InferenceId"]) == (202, "mine")
    assert answer["OutputLocation"].startswith("s3://artifacts/out/")
    assert answer["FailureLocation"].startswith("s3://artifacts/failed/")
    assert written(objects, answer["OutputLocation"]) == b"1,2"
    assert container.asked[0][0]["content-type"] == "text/csv"


@pytest.mark.parametrize("how", ["fails", "hangs", "has no input"])
def test_what_fails_is_written_where_failures_go(client, container, objects, how):
    if how != "has no input":
        objects.put("in/1", b"1,2")
    container.status, container.answer = (500 if how == "fails" else 200), b"it broke"
    if how == "hangs":
        container.does = _silent
    answer = later(client, InvocationTimeoutSeconds=1)
    words = {"fails": "it broke", "hangs": "timed out", "has no input": "in/1"}
    assert words[how] in written(objects, answer["FailureLocation"]).decode()
    with pytest.raises(NotFoundError):
        objects.get(answer["OutputLocation"].removeprefix("s3://artifacts/"))


def test_a_container_works_on_few_asynchronous_requests_at_a_time(client, container, objects):
    objects.put("in/1", b"")
    working: list[int] = []
    most: list[int] = []

    async def work() -> None:
        working.append(1)
        most.append(len(working))
        await asyncio.sleep(0.05)
        working.pop()

    container.does = work
    answers = [later(client) for _ in range(3 * AT_ONCE)]
    for answer in answers:
        written(objects, answer["FailureLocation"])  # it said nothing
    assert max(most) == AT_ONCE


@pytest.mark.parametrize("location", ["s3://artifacts", "https://artifacts/in/1", "in/1"])
def test_an_input_that_is_no_object_is_refused_at_once(client, location):
    error = refused(client.invoke_endpoint_async, EndpointName="later", InputLocation=location)
    assert "inputLocation" in str(error)


# -- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no file of endpoints"),
        ("{", "is no file of endpoints"),
        ('{"port": 1}', "missing required field `endpoints`"),
        ('{"port": 1, "endpoints": {"a": {"target": "lambda", "environment": {}}}}', "the target of a is 'lambda'"),
    ],
)
def test_a_file_that_names_no_endpoints_is_refused(tmp_path: Path, text, message):
    file = tmp_path / "endpoints.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_file(file)


def test_a_minute_is_what_a_container_has():
    assert LocalSageMaker({})._container_s == 60.0
