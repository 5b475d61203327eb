"""What a function carries in its template is what the build made and checked."""

import hashlib

from modelyard.environments import load_environments
from modelyard.packaging.sources import function_files
from modelyard.packaging.targets import function_sets
from modelyard.spec import load_models
from tests.stacks.conftest import PROJECT, Synthesized, built_digest

ONLY_WITH_AN_INSTANCE = {"retraining_collect"}
"""Deployed for models that may train on SageMaker; none of this project's may."""
ONLY_ON_SAGEMAKER = {"invoke"}
"""The way in to models on SageMaker; this project's are on Lambda."""
ONLY_GRADUAL = {f"rollout_{step}" for step in ("begin", "move", "judge", "ask", "promote", "conclude")}
"""Deployed for models with ``rollout.mode = "gradual"``; this project's have their traffic move at once."""


def test_a_function_carries_the_layers_that_the_build_checked_for_it(synthesized: Synthesized) -> None:
    environment = load_environments(PROJECT)[synthesized.name]
    planned = {
        (file, tuple(sorted(function_set.layers)))
        for function_set in function_sets(environment, load_models(PROJECT / "models"), function_files(PROJECT))
        for file in function_set.files
        if file not in ONLY_WITH_AN_INSTANCE | ONLY_GRADUAL
    }
    carried = set()
    for stack, _, function in synthesized.resources("AWS::Lambda::Function"):
        file, _, entry = function["Properties"]["Handler"].partition(".")
        assert entry == "handler"
        resources = synthesized.templates[stack]["Resources"]
        layers = [resources[layer["Ref"]]["Properties"]["Description"] for layer in function["Properties"]["Layers"]]
        carried.add((file, tuple(sorted(description.split()[1] for description in layers))))
    assert carried == planned


def test_every_function_in_the_folder_is_deployed(synthesized: Synthesized) -> None:
    functions = [item["Properties"] for _, _, item in synthesized.resources("AWS::Lambda::Function")]
    deployed = {function["Handler"].partition(".")[0] for function in functions}
    # `app` stands in for `predict` where a model has an app of its own; none of this project's models has one.
    others = ONLY_WITH_AN_INSTANCE | ONLY_GRADUAL | ONLY_ON_SAGEMAKER
    assert deployed == set(function_files(PROJECT)) - {"app"} - others


def test_a_functions_code_is_what_was_built_with_its_bytecode(synthesized: Synthesized) -> None:
    for _, _, function in synthesized.resources("AWS::Lambda::Function"):
        file = function["Properties"]["Handler"].partition(".")[0]
        digest = built_digest(f"function-{file}", function["Properties"]["Architectures"][0])
        # CDK makes a hash of its own of the one that it is given.
        assert function["Properties"]["Code"]["S3Key"] == f"{hashlib.sha256(digest.encode()).hexdigest()}.zip"
