"""Where a training runs, and what is said about it."""

from typing import Any

import pytest

from modelyard.retraining.placing import TRAINING, place
from tests.fakes.training_data import weather_plan

MEGABYTE = 2**20
SAGEMAKER = {"instance": "ml.m5.xlarge"}


@pytest.mark.parametrize(
    ("changes", "megabytes", "where", "why"),
    [
        (
            {},
            None,
            "lambda",
            "on Lambda: 75.2 MB of rows fit into 3,008 MB of memory, and 600 s are within Lambda's 900 s",
        ),
        ({}, 75, "lambda", "on Lambda: 75.0 of 75.2 MB of rows fit into 3,008 MB of memory"),
        (
            {},
            76,
            None,
            "76.0 MB of rows are above the 75.2 MB that 3,008 MB of memory take; raise training.memory_mb, or give "
            "training.instance in model.toml",
        ),
        (SAGEMAKER, 75, "lambda", "on Lambda: 75.0 of 75.2 MB"),
        (
            SAGEMAKER,
            76,
            "sagemaker",
            "on SageMaker (ml.m5.xlarge): 76.0 MB of rows are above the 75.2 MB that 3,008 MB of memory take",
        ),
        (SAGEMAKER | {"memory_mb": 10240}, 76, "lambda", "76.0 of 256.0 MB"),
        (
            SAGEMAKER | {"timeout_s": 901},
            None,
            "sagemaker",
            "on SageMaker (ml.m5.xlarge): its deadline of 901 s is above Lambda's 900 s",
        ),
        (
            SAGEMAKER | {"timeout_s": 3600},
            80,
            "sagemaker",
            "its deadline of 3,600 s is above Lambda's 900 s and 80.0 MB of rows are above the 75.2 MB",
        ),
        (
            {"timeout_s": 901},
            1,
            None,
            "its deadline of 901 s is above Lambda's 900 s; raise training.memory_mb, or give",
        ),
        (SAGEMAKER | {"where": "sagemaker"}, 1, "sagemaker", "on SageMaker (ml.m5.xlarge), as training.where says"),
        ({"where": "lambda"}, 76, None, "76.0 MB of rows are above"),
        ({"where": "lambda"}, 70, "lambda", "on Lambda"),
    ],
)
def test_a_training_runs_on_lambda_where_it_fits_and_else_on_sagemaker_where_there_is_one(
    changes: dict[str, Any], megabytes: int | None, where: str | None, why: str
) -> None:
    found = place(weather_plan(**changes), None if megabytes is None else megabytes * MEGABYTE)
    assert found.where == where
    assert why in found.why


def test_the_border_is_the_byte() -> None:
    plan = weather_plan(memory_mb=TRAINING)
    assert place(plan, MEGABYTE).where == "lambda"
    assert place(plan, MEGABYTE + 1).where is None


def test_the_local_aws_has_no_sagemaker_and_trains_in_a_function_whatever_the_size() -> None:
    for changes in (SAGEMAKER, SAGEMAKER | {"where": "sagemaker"}, SAGEMAKER | {"timeout_s": 3600}):
        found = place(weather_plan(**changes), 500 * MEGABYTE, has_sagemaker=False)
        assert found.where == "lambda"
        assert "the local AWS, which has no SageMaker" in found.why
    assert place(weather_plan(), 500 * MEGABYTE, has_sagemaker=False).where is None, "it would be so in the cloud too"
