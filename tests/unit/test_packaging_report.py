"""What a build says: one line for each function, and on request the whole table."""

import re
from pathlib import Path

import pytest

from modelyard.cli.main import main
from modelyard.packaging.fit import UNZIPPED_LIMIT, Fit
from modelyard.packaging.locks import Pin
from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.report import report, summary
from tests.fakes.projects import LOCAL, Project

LONGEST = "x" * 48  # names.py allows no longer one


def layer(name: str, **changes: object) -> LayerManifest:
    values = {
        "target": "python3.13-x86_64", "digest": "ab" * 32, "inputs": "cd" * 32, "unzipped_bytes": 98_432_723,
        "zip_bytes": 37_362_006, "files": 1348, "bytecode": "3.13.0",
        "packages": (("numpy", 50_451_843), ("onnxruntime", 47_980_880)), "modules": (),
        "pruned": (("second engine", 29_352_200), ("sources and headers", 712_520)),
        "left_out": (("typing-extensions", "serving"),), "path": Path("layer.zip"),
    }  # fmt: skip
    return LayerManifest(name=name, **{**values, **changes})  # type: ignore[arg-type]


FIT = Fit(
    title=f"predict of {LONGEST}",
    target="python3.13-x86_64",
    layers=(
        layer("serving"),
        layer(f"model-{LONGEST}", packages=((f"{LONGEST}_model", 9),), unzipped_bytes=9),
    ),
    function=layer("function-predict", unzipped_bytes=1443, packages=()),
)
LOCKS = {"serving": (Pin("numpy", "numpy==2", "numpy==2", frozenset(), is_direct=True),)}


def test_a_function_takes_one_line_of_the_summary() -> None:
    small = Fit(title="api", target="python3.13-arm64", layers=(layer("api", unzipped_bytes=1_000_000),))

    lines = summary([small, FIT, small])

    assert len(lines) == 2
    assert re.fullmatch(r"api +python3\.13-arm64 +1\.0 MB +0% of 262\.1 MB", lines[0])
    assert "98.4 MB   38% of" in lines[1]


def test_the_report_gives_exact_bytes_and_what_was_left_out_and_why() -> None:
    text = "\n".join(report([FIT], LOCKS))

    assert f"98,434,175 of {UNZIPPED_LIMIT:,} bytes" in text
    assert "fits, 163.7 MB free; 2 of 5 layers" in text
    assert re.search(r"numpy +serving +50,451,843 +51%", text)
    assert re.search(r"function-predict +1,443", text)
    assert "Left out of its wheels, 30.1 MB:" in text
    assert re.search(r"second engine +29,352,200", text)
    assert re.search(r"typing-extensions +in serving", text)
    assert "bytecode of 3.13.0" in text


def test_a_set_that_does_not_fit_says_by_how_much() -> None:
    heavy = Fit(title="train", target="t", layers=(layer("training", unzipped_bytes=UNZIPPED_LIMIT + 5_000_000),))

    assert "5.0 MB too many" in "\n".join(report([heavy], {}))


def test_the_report_can_be_read_at_80_columns() -> None:
    for line in report([FIT], LOCKS):
        assert len(line) <= 80, line
    plain = Fit(title="predict of seattle_weather", target="python3.13-x86_64", layers=(layer("serving"),) * 5)
    for line in summary([plain, FIT]):
        assert len(line) <= 80, line


def test_a_build_that_did_something_ends_with_the_summary_and_its_report_is_at_hand(project: Project) -> None:
    built = project.built("local")

    lines = project.said.splitlines()
    assert [line.split()[0] for line in lines[-4:-1]] == ["api", "workflow", "predict"]
    assert all("of 262.1 MB" in line for line in lines[-4:-1])
    text = "\n".join(report(built.fits, built.locks))
    assert f"layer serving ({LOCAL})" in text
    assert re.search(r"tests +\d", text) or re.search(r"metadata +\d", text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_command_prints_the_report_on_request_and_nothing_on_stdout_else(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in project.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.chdir(project.root)

    for arguments, lines in ((["build"], 0), (["build", "--report"], 20)):
        with pytest.raises(SystemExit) as ended:
            main(["--env", "local", *arguments])
        assert not ended.value.code
        printed = capsys.readouterr().out
        assert (len(printed.splitlines()) >= lines) if lines else not printed
