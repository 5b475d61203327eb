"""Which models a server has loaded: when each is asked for first, as many as there is memory for."""

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import NotFoundError
from modelyard.server import models as module
from modelyard.server.endpoint import ServedEndpoint
from modelyard.server.exchange import HttpExchange
from modelyard.server.models import Models, Served
from modelyard.server.settings import ServerSettings
from tests.fakes import onnx_models
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote

NAMES = ("one", "two", "three", "four")
NUMBERS = {name: number for number, name in enumerate(NAMES, start=1)}
EACH_MB = 100

Run = Callable[..., Any]


@pytest.fixture
def bucket() -> Iterator[HttpBucket]:
    with HttpBucket() as served:
        for name, number in NUMBERS.items():
            promote(served, name, onnx_models.row_sum(number), version=number, revision=1)
        yield served


@pytest.fixture
def run(bucket: HttpBucket, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Does something with a worker's models, each of which takes `EACH_MB`."""
    memory = itertools.count(step=EACH_MB)
    monkeypatch.setattr(module, "resident_mb", lambda: float(next(memory)))

    def ran(what: Callable[[Models], Awaitable[Any]], *names: str, **variables: object) -> Any:
        told = {
            **bucket.environment,
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_ENGINE": "lean",
            "MODELYARD_REFRESH_S": "3600",
            **{f"MODELYARD_{name}": str(value) for name, value in variables.items()},
        }
        if len(names) == 1:
            told["MODELYARD_MODEL"] = names[0]
        else:
            told |= {f"MODELYARD_MODEL_{at}": json.dumps({"MODELYARD_MODEL": name}) for at, name in
                     enumerate(names or NAMES, start=1)}  # fmt: skip

        async def main() -> Any:
            models = Models(ServerSettings.read(told), asyncio.get_running_loop(), threads)
            try:
                return await asyncio.wait_for(what(models), 30)
            finally:
                await asyncio.get_running_loop().run_in_executor(None, models.close)

        with ThreadPoolExecutor(2) as threads:
            return asyncio.run(main())

    return ran


async def asked(endpoint: Any, name: str) -> tuple[int, float]:
    body = json.dumps({"instances": [[0, 0]]}).encode()
    exchange = HttpExchange(
        f"POST /models/{name}/predict", {"content-type": "application/json"}, body, endpoint.live, request_id="r"
    )
    response = await endpoint.serve(exchange)
    return response["statusCode"], json.loads(response["body"]).get("predictions", [None])[0]


async def ask(models: Models, name: str) -> tuple[int, float]:
    return await asked(models.loaded(name) or await models.endpoint(name), name)


def events(capsys: pytest.CaptureFixture[str], name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line.get("event") == name]


def test_the_only_model_is_loaded_at_the_start(run: Run) -> None:
    async def start(models: Models) -> Any:
        await models.load_all()
        return models.only, models.states

    assert run(start, "one") == ("one", {"one": "ready"})


def test_of_several_each_is_loaded_when_it_is_first_asked_for(run: Run, bucket: HttpBucket) -> None:
    async def start(models: Models) -> Any:
        await models.load_all()
        assert (models.only, models.states, models.loaded("two")) == (None, {}, None)
        assert not bucket.requests
        found = await ask(models, "two")
        return found, models.states, models.names

    assert run(start) == ((200, 2), {"two": "ready"}, list(NAMES))
    assert not [path for path, _ in bucket.requests if "deployments" in path and "two" not in path]


def test_requests_that_come_first_at_once_load_it_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def crowd(models: Models) -> Any:
        return await asyncio.gather(*(ask(models, name) for name in ("one", "two") * 5))

    assert set(run(crowd)) == {(200, 1), (200, 2)}
    assert sorted(line["model"] for line in events(capsys, "version_live")) == ["one", "two"]


@pytest.mark.parametrize(
    ("budget", "left"), [(0, NAMES), (400, NAMES), (399, NAMES[1:]), (300, NAMES[1:]), (299, NAMES[2:]), (1, NAMES[3:])]
)
def test_those_asked_for_longest_ago_are_let_go_of_beyond_the_budget(run: Run, budget: int, left: Any) -> None:
    async def use(models: Models) -> Any:
        for name in NAMES:
            assert await ask(models, name) == (200, NUMBERS[name])
        return models.states

    assert tuple(run(use, MEMORY_MB=budget)) == left


def test_who_was_asked_for_since_stays(run: Run) -> None:
    async def use(models: Models) -> Any:
        for name in ("one", "two", "one", "three"):
            await ask(models, name)
        return list(models.states)

    assert run(use, MEMORY_MB=2 * EACH_MB) == ["one", "three"]


def test_who_was_let_go_of_is_loaded_again_and_it_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def use(models: Models) -> Any:
        return [await ask(models, name) for name in ("one", "two", "one")], list(models.states)

    assert run(use, MEMORY_MB=EACH_MB) == ([(200, 1), (200, 2), (200, 1)], ["one"])
    told = [(line["model"], line["size_mb"], line["budget_mb"]) for line in events(capsys, "model_let_go")]
    assert told == [("one", 100, 100), ("two", 100, 100)]


def test_the_only_model_is_kept_whatever_it_takes(run: Run) -> None:
    async def use(models: Models) -> Any:
        await models.load_all()
        return await ask(models, "one"), models.states

    assert run(use, "one", MEMORY_MB=1) == ((200, 1), {"one": "ready"})


def test_a_request_under_way_is_answered_when_its_model_is_let_go_of(run: Run, bucket: HttpBucket) -> None:
    async def use(models: Models) -> Any:
        endpoint = await models.endpoint("one")
        assert await ask(models, "two") == (200, 2)
        assert list(models.states) == ["two"]
        return await asked(endpoint, "one")

    assert run(use, MEMORY_MB=EACH_MB, CAPTURE=1) == (200, 1)
    captured = [key for key in bucket.objects if key.startswith("captures/")]
    assert [key for key in captured if "two" in key]


def test_what_a_model_that_is_let_go_of_was_being_asked_is_captured(
    run: Run, bucket: HttpBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedEndpoint._served

    async def slowly(endpoint: ServedEndpoint, exchange: Any) -> Any:
        if endpoint.model == "one":
            await asyncio.sleep(0.5)
        return await served(endpoint, exchange)

    monkeypatch.setattr(ServedEndpoint, "_served", slowly)

    async def use(models: Models) -> Any:
        under_way = asyncio.ensure_future(asked(await models.endpoint("one"), "one"))
        await asyncio.sleep(0)
        assert await ask(models, "two") == (200, 2)
        assert list(models.states) == ["two"]
        return await under_way

    assert run(use, MEMORY_MB=EACH_MB, CAPTURE=1) == (200, 1)
    assert [key for key in bucket.objects if key.startswith("captures/one/")]


def test_a_load_does_not_hold_up_the_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    load = Served.load

    def slowly(served: Served) -> None:
        if served.endpoint.model == "two":
            assert may_go_on.wait(10)
        load(served)

    monkeypatch.setattr(Served, "load", slowly)

    async def use(models: Models) -> Any:
        await ask(models, "one")
        slow = asyncio.ensure_future(ask(models, "two"))
        await asyncio.sleep(0.05)
        found = await ask(models, "one")
        may_go_on.set()
        return found, await slow

    assert run(use) == ((200, 1), (200, 2))


def test_who_leaves_while_a_model_is_loaded_takes_it_from_nobody(run: Run) -> None:
    async def use(models: Models) -> Any:
        leaves, stays = (asyncio.ensure_future(models.endpoint("one")) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        return await asked(await stays, "one")

    assert run(use) == (200, 1)


def test_what_cannot_be_loaded_is_tried_again_when_it_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("no thread can be started")])
    load = Served.load

    def fail_once(served: Served) -> None:
        for error in failures:
            raise error
        load(served)

    monkeypatch.setattr(Served, "load", fail_once)

    async def use(models: Models) -> Any:
        with pytest.raises(RuntimeError):
            await models.endpoint("one")
        return await ask(models, "one")

    assert run(use) == (200, 1)


def test_a_model_without_a_version_says_so_and_answers_as_soon_as_there_is_one(run: Run, bucket: HttpBucket) -> None:
    pointer = bucket.objects.pop("deployments/one.json")

    async def use(models: Models) -> Any:
        before = (await ask(models, "one"))[0], models.states["one"]
        bucket.put("deployments/one.json", pointer)
        return before, await ask(models, "one"), models.states["one"]

    assert run(use) == ((503, "empty"), (200, 1), "ready")


def test_a_model_that_is_damaged_is_said_to_have_failed(run: Run, bucket: HttpBucket) -> None:
    bucket.put("deployments/one.json", b"{")

    async def use(models: Models) -> Any:
        return (await ask(models, "one"))[0], models.states["one"]

    assert run(use, "one") == (503, "failed")


@pytest.mark.parametrize(("name", "said"), [("five", "no model 'five'"), ("x" * 5000, "no model"), (None, "4 models")])
def test_a_model_that_the_server_has_not_is_named(run: Run, name: str | None, said: str) -> None:
    async def check(models: Models) -> None:
        models.check("one")
        with pytest.raises(NotFoundError, match=said) as refused:
            models.check(name)
        assert refused.value.code == "unknown_model"
        assert len(refused.value.message) < 300

    run(check)
