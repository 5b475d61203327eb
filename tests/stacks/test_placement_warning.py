"""What synth says of a model that comes near a limit of where it runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.environments import choose_environment, load_environments
from modelyard.spec import load_model
from tests.stacks.conftest import PROJECT


@pytest.fixture
def warnings(unbuilt_layers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a stack and returns what it warns of, with so many bytes in each layer and row."""
    import stacks  # noqa: I001 - chooses the Node that aws_cdk starts
    import stacks.base
    from aws_cdk import App
    from aws_cdk.assertions import Annotations, Match
    from stacks.base import Deployment, ModelyardStack
    from stacks.placement_warning import warn_of_placement

    def made(*, layer_bytes: int = 0, row: str = "", target: str = "lambda") -> list[str]:
        folder = tmp_path / "models" / "m"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(b"x")
        (folder / "example.json").write_text(json.dumps({"instances": [{"text": row}]}))
        (folder / "model.toml").write_text(
            '[model]\nname = "m"\ntask = "regression"\nartifact = "model.onnx"\nexample = "example.json"\n'
            f'[endpoint]\ntarget = "{target}"\n'
        )
        find_layer = stacks.base.find_layer
        monkeypatch.setattr(
            stacks.base,
            "find_layer",
            lambda *arguments, **more: find_layer(*arguments, **more).__class__(
                **{**find_layer(*arguments, **more).__dict__, "unzipped_bytes": layer_bytes}
            ),
        )
        settings = choose_environment(load_environments(PROJECT), "dev")
        stack = ModelyardStack(
            App(), "S", deployment=Deployment(project=PROJECT, name="dev", settings=settings), description="d"
        )
        warn_of_placement(stack, load_model(folder))
        monkeypatch.setattr(stacks.base, "find_layer", find_layer)
        return [str(found.entry.data) for found in Annotations.from_stack(stack).find_warning("*", Match.any_value())]

    return made


def test_a_small_model_synthesizes_without_a_word(warnings: Any) -> None:
    assert warnings(layer_bytes=60_000_000) == []


def test_code_near_the_limit_is_a_warning_with_its_sum(warnings: Any) -> None:
    (warned,) = warnings(layer_bytes=80_000_000)
    assert "m is almost too large for Lambda" in warned
    assert "240,000,000 bytes unpacked (core, lean, function-predict) / 262,144,000 = 91.6%" in warned


def test_code_above_the_limit_says_which_target_takes_it(warnings: Any) -> None:
    (warned,) = warnings(layer_bytes=90_000_000)
    assert 'set endpoint.target = "sagemaker-realtime"' in warned
    assert warnings(layer_bytes=90_000_000, target="sagemaker-realtime") == []


def test_a_row_that_no_request_holds_is_a_warning(warnings: Any) -> None:
    (warned,) = warnings(row="x" * 6_000_000)
    assert "1 rows fit into a request" in warned


def test_the_way_in_has_the_memory_that_the_arithmetic_takes() -> None:
    import stacks  # noqa: F401 - chooses the Node that aws_cdk starts
    from modelyard.placement import Assumptions
    from stacks.way_in import MEMORY_MB

    assert Assumptions().way_in_mb == MEMORY_MB
