"""What the benchmarks of endpoint and server are made of; the benchmarks themselves run by ``make bench``."""

import http.client
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import bench
from benchmarks.measuring.bucket import Bucket
from benchmarks.measuring.picture import Bar, Stretch, bars, timeline
from benchmarks.measuring.script import Claim, claim_line
from benchmarks.measuring.table import table

PROJECT = Path(__file__).parents[2]


def test_every_benchmark_has_its_place_on_the_page_and_a_row_with_its_time():
    page = bench.PAGE.read_text()
    for name, script in bench.scripts().items():
        assert page.count(bench.BEGIN.format(name)) == page.count(bench.END.format(name)) == 1
        assert f"| `benchmarks/{script.parent.name}/{name}.py` |" in page


def test_figures_replace_those_of_the_last_run_and_nothing_else(tmp_path, monkeypatch):
    begin, end = bench.BEGIN.format("warm"), bench.END.format("warm")
    (tmp_path / "README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    monkeypatch.setattr(bench, "PAGE", tmp_path / "README.md")
    machine = dict.fromkeys(("date", "processors", "processor", "architecture", "python", "load"), "some")
    document = {"command": "warm.py", "seconds": 3, "machine": machine, "report": "the table", "claims": []}
    document["pictures"] = {"warm.svg": "<svg/>"}
    for _ in range(2):
        bench._publish(tmp_path / "warm.py", document)
    page = (tmp_path / "README.md").read_text()
    assert page.startswith(f"before\n{begin}\n")
    assert page.endswith(f"{end}\nafter\n")
    assert (page.count("the table"), page.count("old")) == (1, 0)
    assert (tmp_path / "warm.svg").read_text() == "<svg/>"


def test_a_claim_says_whether_it_holds():
    assert "holds" in claim_line(Claim("a", 1.0, 1.0).__dict__ | {"holds": Claim("a", 1.0, 1.0).holds})
    assert not Claim("a", 1.01, 1.0).holds


def test_a_claim_may_be_the_least_that_has_to_be():
    assert Claim("a", 0.8, 0.7, at_least=True).holds
    assert not Claim("a", 0.6, 0.7, at_least=True).holds
    document = Claim("a", 0.6, 0.7, at_least=True).__dict__ | {"holds": False}
    assert claim_line(document) == "- a: 0.6 x, at least 0.7: **does not hold**"


def test_a_table_is_markdown():
    assert table(["a", "b"], [["x", 1]]).splitlines() == ["| a | b |", "|---|--:|", "| x | 1 |"]


@pytest.mark.parametrize(
    "picture",
    [
        bars("a < b", [Bar("one & two", 0.0, "0 ms"), Bar("three", 1200.0, "1,200 ms", ours=True)]),
        timeline("starts", [Stretch("import", [(0.0, 0.0), (3.5, 40.2)], "40 ms")], end=40.2, unit="ms"),
    ],
)
def test_a_picture_is_svg_that_stays_within_its_page(picture):
    root = ET.fromstring(picture)  # noqa: S314 - our own
    width = float(root.attrib["width"])
    pieces = [node for node in root.iter() if node.tag.endswith("rect")]
    assert len(pieces) == 3
    assert all(float(piece.get("x", 0)) + float(piece.attrib["width"]) <= width for piece in pieces)


def test_the_stand_in_for_s3_gives_what_was_put_and_304_while_it_is_the_same():
    with Bucket() as bucket:
        bucket.put("a/key", b"content")
        connection = http.client.HTTPConnection(bucket.address.removeprefix("http://"))

        def get(key: str, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
            connection.request("GET", f"/{bucket.name}/{key}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers["ETag"]

        status, content, etag = get("a/key", {})
        assert (status, content) == (200, b"content")
        assert get("a/key", {"If-None-Match": str(etag)}) == (304, b"", etag)
        assert get("absent", {})[0] == 404
        connection.close()
        asked = bucket.requests()
    assert [(method, path.rpartition("/")[2]) for method, path, _, _ in asked] == [
        ("PUT", "key"), ("GET", "key"), ("GET", "key"), ("GET", "absent"),
    ]  # fmt: skip
