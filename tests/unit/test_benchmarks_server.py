"""What the benchmarks of the server are made of: processes of their own, wrk's figures, turns, answers held right."""

import json
import os
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import turns, wrk
from benchmarks.measuring.server import Server, descendants, free_port, post, running_on
from benchmarks.measuring.turns import median, ratio, take_turns
from benchmarks.measuring.wrk import Load, Measured, parsed
from benchmarks.server.contestants import CONTESTANTS, FLOOR, RIVALS, ours

needs_linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="reads /proc and sets affinities")

ECHO = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        said = f"{child.pid} {sorted(os.sched_getaffinity(0))}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        print("audit", flush=True)
    log_message = lambda *_: None
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
WRK = """Running 1s test @ http://127.0.0.1:8080/predict
Requests/sec:   2000.00

{"requests": 2000, "us": 1000000, "mean_us": 1500.5, "p50_us": 1200, "p99_us": 9000, "refused": 0, "broken": 0}
"""


def echo(folder: Path, on: set[int], *, piped: bool = False) -> Server:
    port = free_port()
    command = [sys.executable, "-c", ECHO, str(port)]
    out = None if piped else folder / "out.log"
    url = f"http://127.0.0.1:{port}/predict"
    return Server("echo", command, {"PATH": os.environ["PATH"]}, url=url, folder=folder, on=on, out=out)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with echo(tmp_path, set(sorted(os.sched_getaffinity(0))[:1])) as started:
        yield started


@needs_linux
def test_a_server_runs_where_it_is_told_and_ends_with_all_that_it_started(tmp_path):
    one = sorted(os.sched_getaffinity(0))[0]
    before = os.sched_getaffinity(0)
    with echo(tmp_path, {one}) as server:
        child, _, processors = server.answer(b"{}").decode().partition(" ")
        assert json.loads(processors) == [one]
        assert Path(f"/proc/{child}").exists()
    assert os.sched_getaffinity(0) == before
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)
    assert (tmp_path / "out.log").read_text() == "audit\n"


@needs_linux
def test_a_server_that_is_stopped_answers_nobody_until_it_goes_on(server, monkeypatch):
    server.answer(b"{}")
    server.pause()
    states = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0] for one in descendants(_pid(server))]
    assert states == ["T", "T"]
    monkeypatch.setattr("benchmarks.measuring.server.ANSWER_S", 0.2)
    with pytest.raises((TimeoutError, urllib.error.URLError)):
        post(server.url, b"{}")
    server.resume()
    assert server.answer(b"{}")


@needs_linux
def test_a_pipe_is_read_so_that_nobody_waits_for_it(tmp_path):
    with echo(tmp_path, os.sched_getaffinity(0), piped=True) as server:
        assert [server.answer(b"{}")[:1].isdigit() for _ in range(3)] == [True] * 3


@needs_linux
def test_a_server_that_ends_says_what_it_wrote(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", "import sys; sys.exit('no model here')"]
    url = f"http://127.0.0.1:{port}/predict"
    server = Server("broken", command, {}, url=url, folder=tmp_path, on=os.sched_getaffinity(0), out=tmp_path / "out")
    with server, pytest.raises(SystemExit, match=r"broken did not answer(.|\n)*no model here"):
        server.answer(b"{}")


@needs_linux
def test_processors_are_given_back_even_when_what_runs_there_fails():
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match="fails"), running_on({min(before)}):
        raise ValueError("fails")
    assert os.sched_getaffinity(0) == before


def test_what_wrk_counted_is_read_from_its_last_line():
    assert parsed(WRK) == Measured(requests_s=2000.0, mean_ms=1.5005, p50_ms=1.2, p99_ms=9.0)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"refused": 0', '"refused": 3', "3 were answered with an error"),
        ('"broken": 0', '"broken": 1', "1 got no answer"),
        ('"requests": 2000', '"requests": 0', "of 0 requests"),
    ],
)
def test_figures_of_a_server_that_failed_are_refused(was, now, said):
    with pytest.raises(SystemExit, match=said):
        parsed(WRK.replace(was, now))


def test_a_machine_without_wrk_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt install wrk"):
        wrk.require()


class Stage:
    """A server that notes when it is on."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = self.url = name
        self._seen = seen

    def resume(self) -> None:
        self._seen.append(f"{self.name} on")

    def pause(self) -> None:
        self._seen.append(f"{self.name} off")


def test_servers_are_on_only_in_their_turn_and_each_other_round_is_reversed(monkeypatch):
    seen: list[str] = []

    def ask(url: str, load: Load, *, seconds: float, name: str) -> Measured:
        assert seen[-1] == f"{name} on" == f"{url} on"
        return Measured(len(seen), seconds, 0.0, 0.0)

    monkeypatch.setattr(turns.wrk, "ask", ask)
    found = take_turns({name: (Stage(name, seen), Load(b"", 1)) for name in "ab"}, rounds=2, seconds=3)
    assert seen == ["b on", "b off", "a on", "a off", "a on", "a off", "b on", "b off"]
    assert [one.mean_ms for one in found["a"]] == [3, 3]


def test_a_ratio_is_taken_within_a_round():
    slow, fast = [Measured(x, 0, 0, 0) for x in (10, 20, 90)], [Measured(x, 0, 0, 0) for x in (20, 40, 90)]
    assert ratio(slow, fast, "requests_s") == 0.5
    assert median(slow, "requests_s") / median(fast, "requests_s") == 0.5
    noisy = [Measured(x, 0, 0, 0) for x in (20, 400, 30)]  # the machine was slow in two rounds
    assert ratio(slow, noisy, "requests_s") == 0.5


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lean", {"predictions": [{"label": 1, "probabilities": [0.25, 0.75]}]}),
        (FLOOR, {"label": [1], "probabilities": [[0.25, 0.75]]}),
        (
            "mlserver",
            {
                "outputs": [
                    {"name": "label", "shape": [1, 1], "data": [1]},
                    {"name": "probabilities", "shape": [1, 2], "data": [0.25, 0.75]},
                ]
            },
        ),
    ],
)
def test_an_answer_that_is_not_the_models_own_is_refused(name, answer):
    contestant, labels, shares = CONTESTANTS[name], np.array([1]), np.array([[0.25, 0.75]], np.float32)
    contestant.check(json.dumps(answer).encode(), (labels, shares))
    with pytest.raises(SystemExit, match="answers something else"):
        contestant.check(json.dumps(answer).encode(), (labels, shares[:, ::-1]))
    with pytest.raises(SystemExit, match="answers something else"):
        contestant.check(json.dumps(answer).encode(), (labels + 1, shares))


def test_every_other_server_has_a_lock_in_which_each_file_has_a_hash_and_the_engine_of_our_layers():
    engine = "onnxruntime==1.31.1"
    assert engine in (Path(__file__).parents[2] / "layers" / "serving" / "requirements.txt").read_text()
    for contestant in CONTESTANTS.values():
        if contestant.ours:
            continue
        lock = (RIVALS / f"{contestant.lock}.txt").read_text()
        assert engine in lock
        pins = [line for line in lock.splitlines() if line[:1].isalpha()]
        assert all(line.endswith("\\") for line in pins), "a pin without a hash"


def test_our_own_server_is_told_its_engine():
    assert dict(ours("a", "standard", {"MODELYARD_MAX_BATCH": "1"}).variables) == {
        "MODELYARD_ENGINE": "standard",
        "MODELYARD_MAX_BATCH": "1",
    }


def _pid(server: Server) -> int:
    return server._process.pid


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
