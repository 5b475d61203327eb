"""The client of SageMaker's runtime: what it signs and sends, and what it does when no answer comes."""

import datetime as dt
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from modelyard.aws import kept_connection, sagemaker_runtime
from modelyard.aws.kept_connection import KeptConnection, host_header
from modelyard.aws.sagemaker_runtime import Request, SageMakerRuntime, error_type, open_runtime
from modelyard.aws.sigv4 import EnvironmentKeys, Keys, Signer
from modelyard.errors import CredentialsError, ModelyardError
from modelyard.plain_http import Answer
from tests.fakes import sagemaker_runtime as fake
from tests.fakes.sagemaker_runtime import FakeSageMakerRuntime, wait_until

REQUEST = Request(
    "modelyard-sums",
    content_type="application/json",
    accept="*/*",
    attributes='{"route":"POST /models/sums/predict","h":{"x-user":"a  b"}}',
)


@pytest.fixture
def service():
    with FakeSageMakerRuntime() as served:
        yield served


@pytest.fixture
def opened():
    """Makes runtimes of an environment."""
    made: list[SageMakerRuntime] = []

    def open_(environ: dict[str, str]) -> SageMakerRuntime:
        made.append(open_runtime(environ))
        return made[-1]

    yield open_
    for runtime in made:
        runtime.close()


@pytest.fixture
def runtime(service, opened):
    return opened(service.environment)


def invoke(runtime: SageMakerRuntime, body: bytes = b"{}", *, seconds: float = 5.0) -> Answer:
    return runtime.invoke(REQUEST, body, ends=time.monotonic() + seconds)


def code_of(runtime: SageMakerRuntime, **options: float) -> tuple[str, int]:
    with pytest.raises(ModelyardError) as raised:
        invoke(runtime, **options)
    assert raised.value.next_step
    return raised.value.code, raised.value.status


# -- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "IQoJb3JpZ2luX2VjE//////////wEaCXVz+a=="])
@pytest.mark.parametrize("body", [b"", b'{"instances": []}', bytes(range(256)) * 40])
@pytest.mark.parametrize("attributes", ["{}", ' {"h":{"x":"two  spaces"}} ', "~" * 1024])
def test_a_signature_is_the_one_that_botocore_makes(token, body, attributes):
    host, path, now = "runtime.sagemaker.eu-west-1.amazonaws.com", "/endpoints/modelyard-sums/invocations", 1795255200.0
    headers = {"Content-Type": "application/json", "Accept": "*/*", "X-Amzn-SageMaker-Custom-Attributes": attributes}
    ours = Signer("sagemaker", "eu-west-1").signed(
        Keys("AKID", "secret/+key", token), host=host, path=path, headers=headers, body=body, now=now
    )
    request = AWSRequest("POST", f"https://{host}{path}", data=body, headers=headers)
    moment = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = moment
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = moment
    auth = SigV4Auth(Credentials("AKID", "secret/+key", token or None), "sagemaker", "eu-west-1")
    theirs = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert ours["Authorization"].endswith(f"Signature={theirs}")
    assert f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(request))}," in ours["Authorization"]


def test_a_changed_body_has_another_signature():
    signer, keys = Signer("sagemaker", "eu-west-1"), Keys("AKID", "secret")
    made = {
        signer.signed(keys, host="h", path="/p", headers={}, body=body, now=0.0)["Authorization"]
        for body in (b"1", b"2")
    }
    assert len(made) == 2


def test_keys_that_the_environment_changes_are_used_from_then_on():
    environ = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "s"}
    keys = EnvironmentKeys(environ)
    assert (keys().access_key, keys().token) == ("one", "")
    environ |= {"AWS_ACCESS_KEY_ID": "two", "AWS_SESSION_TOKEN": "t"}
    assert (keys().access_key, keys().token) == ("two", "t")


def test_without_credentials_it_says_so():
    with pytest.raises(CredentialsError, match="no AWS credentials"):
        EnvironmentKeys({})()


def test_a_credential_endpoint_is_asked_once_until_its_keys_expire(monkeypatch):
    asked = []

    class Endpoint:
        def __call__(self):
            asked.append(1)
            expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=[3600, 60][len(asked) - 1])
            return {"access_key_id": "a", "secret_access_key": "s", "token": "t", "expires_at": expires}

    monkeypatch.setattr("modelyard.aws.container_credentials.ContainerCredentials.of", lambda _environ: Endpoint())
    keys = EnvironmentKeys({})
    assert {keys().access_key for _ in range(3)} == {"a"}
    assert len(asked) == 1
    keys._until = 0.0
    keys()
    assert len(asked) == 2


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_invoke_sends_what_the_api_documents(service, runtime):
    answer = invoke(runtime, b'{"instances": [1]}')
    (asked,) = service.asked
    assert asked.path == "/endpoints/modelyard-sums/invocations"
    assert asked.body == b'{"instances": [1]}'
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept"] == "*/*"
    assert asked.headers["x-amzn-sagemaker-custom-attributes"] == REQUEST.attributes
    assert (answer.status, answer.body) == (200, b'{"predictions": []}')


def test_invoke_async_sends_a_location_and_no_body(service, runtime):
    service.harms = [fake.said(202, {"InferenceId": "abc"})]
    answer = runtime.invoke_async(REQUEST, location="s3://b/k", inference_id="abc", ends=time.monotonic() + 5)
    (asked,) = service.asked
    assert answer.status == 202
    assert asked.path == "/endpoints/modelyard-sums/async-invocations"
    assert (asked.body, asked.headers["content-length"]) == (b"", "0")
    named = {name.removeprefix("x-amzn-sagemaker-"): value for name, value in asked.headers.items()}
    assert {name: named[name] for name in ("content-type", "accept", "inference-id", "inputlocation")} == {
        "content-type": "application/json",
        "accept": "*/*",
        "inference-id": "abc",
        "inputlocation": "s3://b/k",
    }


def test_a_request_with_wrong_keys_is_refused_by_the_fake_so_that_signatures_are_checked(service, opened):
    runtime = opened({**service.environment, "AWS_SECRET_ACCESS_KEY": "another"})
    assert error_type(invoke(runtime)) == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("environ", "host", "port", "tls"),
    [
        ({"AWS_REGION": "eu-west-1"}, "runtime.sagemaker.eu-west-1.amazonaws.com", 443, True),
        ({"AWS_REGION": "cn-north-1"}, "runtime.sagemaker.cn-north-1.amazonaws.com.cn", 443, True),
        ({"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://127.0.0.1:4600"}, "127.0.0.1", 4600, False),
        ({"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://[::1]:4600/"}, "::1", 4600, False),
        ({"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://sagemaker.test"}, "sagemaker.test", 80, False),
    ],
)
def test_the_environment_says_where_sagemaker_is(environ, host, port, tls):
    runtime = open_runtime(environ)
    assert (runtime._host, runtime._port, runtime._with_tls) == (host, port, tls)


def test_the_host_is_named_without_the_port_of_its_scheme():
    assert host_header("a.b", 443, tls=True) == "a.b"
    assert host_header("a.b", 443, tls=False) == "a.b:443"
    assert host_header("::1", 80, tls=False) == "[::1]"


# -- connections ------------------------------------------------------------------------------------------------------


def test_one_connection_serves_several_calls(service, runtime):
    for _ in range(5):
        assert invoke(runtime).status == 200
    assert service.connections == 1


def test_the_first_connection_is_opened_before_the_first_call(service, runtime):
    runtime.connect_soon()
    wait_until(lambda: len(runtime._idle) == 1)
    assert invoke(runtime).status == 200
    assert service.connections == 1


def test_calls_of_several_threads_do_not_share_a_connection(service, runtime):
    service.harms = [fake.silence(0.3)]
    codes = []
    slow = threading.Thread(target=lambda: codes.append(code_of(runtime)))
    slow.start()
    wait_until(lambda: len(service.asked) == 1)
    assert invoke(runtime).status == 200
    slow.join()
    assert (service.connections, codes) == (2, [("endpoint_failed", 502)])


def test_a_connection_that_was_closed_while_idle_is_opened_again_and_nothing_is_sent_twice(service, runtime):
    service.harms = [fake.closing]
    invoke(runtime)
    time.sleep(0.05)  # the end of the connection arrives
    assert invoke(runtime).status == 200
    assert [asked.connection for asked in service.asked] == [1, 2]


def test_the_end_of_a_connection_is_seen_before_a_request_is_risked_on_it(service):
    service.signature_problem = lambda _asked: None
    connection = KeptConnection("127.0.0.1", service._server.server_address[1], tls=None, max_body_bytes=1000)
    service.harms = [fake.closing]
    for _ in range(2):
        assert connection.ask("/", {}, b"", ends=time.monotonic() + 5).status == 200
        time.sleep(0.05)
    connection.close()


def test_of_several_idle_connections_no_second_one_is_risked(service, runtime):
    for _ in range(2):
        runtime.connect_soon()
    wait_until(lambda: len(runtime._idle) == 2)
    service.harms = [fake.reset] * 3
    assert code_of(runtime) == ("endpoint_failed", 502)
    assert len(service.asked) == 2


def test_after_a_freeze_a_connection_is_not_trusted(service, runtime, monkeypatch):
    invoke(runtime)
    real = time.time
    monkeypatch.setattr(kept_connection.time, "time", lambda: real() + kept_connection.IDLE_S + 1)
    assert invoke(runtime).status == 200
    assert [asked.connection for asked in service.asked] == [1, 2]


def test_what_was_lost_on_an_idle_connection_is_asked_once_more(service, runtime):
    """The server closes the connection at the moment at which the request goes out."""
    invoke(runtime)
    service.harms = [fake.reset]
    assert invoke(runtime).status == 200
    assert [asked.connection for asked in service.asked] == [1, 1, 2]


def test_what_was_lost_on_a_new_connection_is_not_asked_again(service, runtime):
    service.harms = [fake.reset]
    assert code_of(runtime) == ("endpoint_failed", 502)
    assert len(service.asked) == 1


def test_what_is_lost_twice_is_given_up(service, runtime):
    invoke(runtime)
    service.harms = [fake.reset, fake.reset]
    assert code_of(runtime) == ("endpoint_failed", 502)
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_failed_endpoint_and_is_not_asked_again(service, runtime, content):
    invoke(runtime)
    service.harms = [fake.raw(content)]
    assert code_of(runtime) == ("endpoint_failed", 502)
    assert len(service.asked) == 2
    assert invoke(runtime).status == 200


def test_nobody_there_is_tried_again_and_then_unavailable(monkeypatch):
    pauses = []
    monkeypatch.setattr(sagemaker_runtime.time, "sleep", pauses.append)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and not listened at
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        environ = {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        assert code_of(open_runtime(environ)) == ("endpoint_unavailable", 503)
    assert len(pauses) == sagemaker_runtime.ATTEMPTS - 1
    assert pauses[1] > pauses[0] >= sagemaker_runtime.PAUSE_S


def test_silence_ends_at_the_deadline(service, runtime):
    service.harms = [fake.silence(5)]
    began = time.monotonic()
    assert code_of(runtime, seconds=0.3) == ("endpoint_timeout", 504)
    assert 0.25 < time.monotonic() - began < 4
    assert len(service.asked) == 1


def test_a_server_that_trickles_is_held_to_the_deadline(service, runtime):
    def trickle(handler, asked):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not service.ended.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    service.harms = [trickle]
    began = time.monotonic()
    assert code_of(runtime, seconds=0.4) == ("endpoint_timeout", 504)
    assert time.monotonic() - began < 4


def test_a_server_that_does_not_read_is_held_to_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        environ = {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        began = time.monotonic()
        with pytest.raises(ModelyardError) as raised:
            invoke(open_runtime(environ), bytes(30_000_000), seconds=0.4)
        assert (raised.value.code, raised.value.status) == ("endpoint_timeout", 504)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("size", [6_291_456, 20_000_000])
def test_large_bodies_go_both_ways_in_linear_time(service, runtime, size):
    service.container = lambda asked: (200, {}, asked.body)
    began = time.monotonic()
    assert invoke(runtime, bytes(size), seconds=20).body == bytes(size)
    assert time.monotonic() - began < 10


# -- throttling -------------------------------------------------------------------------------------------------------

THROTTLED = {
    "as documented": fake.refusal("ThrottlingException", "Rate exceeded", status=429),
    "with the status 400 and no message": fake.said(400, {"message": None}, kind="ThrottlingException"),
    "with the type in the body": fake.said(400, {"__type": "ThrottlingException", "message": None}),
    "loading": fake.refusal("ModelNotReadyException", "wait", status=429),
}


@pytest.mark.parametrize("how", THROTTLED)
def test_what_was_throttled_is_asked_again(service, runtime, how):
    service.harms = [THROTTLED[how]] * 2
    assert invoke(runtime).status == 200
    assert len(service.asked) == 3


def test_what_stays_throttled_comes_back(service, runtime):
    service.harms = [THROTTLED["as documented"]] * 5
    assert invoke(runtime).status == 429
    assert len(service.asked) == sagemaker_runtime.ATTEMPTS


def test_without_time_for_a_pause_nothing_is_asked_again(service, runtime):
    service.harms = [THROTTLED["as documented"]] * 5
    assert invoke(runtime, seconds=0.15).status == 429
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (200, {}, b"ThrottlingException", ""),
        (424, {}, b'{"OriginalMessage": "ThrottlingException"}', "ModelError"),
        (400, {}, b'{"Message": "x"}', "ValidationError"),
        (400, {"x-amzn-errortype": "ValidationError:http://internal.amazon.com/x"}, b"", "ValidationError"),
        (400, {"x-amzn-errortype": "com.amazon#ModelError"}, b"", "ModelError"),
        (502, {}, b"<html>", "HTTP 502"),
    ],
)
def test_an_error_says_its_type_in_one_of_several_places(status, headers, body, kind):
    assert error_type(Answer(status, headers, body)) == kind


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that is its own authority, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    named = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "-", "-out", "-"]
    made = subprocess.run(["openssl", *asked.split(), *named], capture_output=True, check=True)
    file.write_bytes(made.stdout)
    return file


@pytest.fixture
def over_tls(service, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    service._server.socket = context.wrap_socket(service._server.socket, server_side=True)
    return service


def kept(service: FakeSageMakerRuntime, trusted: str | None) -> KeptConnection:
    port = service._server.server_address[1]
    context = ssl.create_default_context(cafile=trusted)
    return KeptConnection("localhost", port, tls=context, max_body_bytes=1_000_000)


def test_a_connection_over_tls_is_opened_early_kept_and_trusted_while_it_is_fresh(over_tls, certificate):
    over_tls.signature_problem = lambda _asked: None
    connection = kept(over_tls, str(certificate))
    connection.connect()
    time.sleep(0.05)  # TLS 1.3 sends tickets after the handshake: something to read, and no reason to give up
    for _ in range(3):
        answer = connection.ask("/endpoints/e/invocations", {}, b"{}", ends=time.monotonic() + 5)
        assert answer.status == 200
    connection.close()
    assert over_tls.connections == 1


def test_a_certificate_that_nobody_trusts_is_refused_before_anything_is_sent(over_tls):
    with pytest.raises(kept_connection.NotSentError, match="certificate"):
        kept(over_tls, None).ask("/", {}, b"", ends=time.monotonic() + 5)
    assert over_tls.asked == []
