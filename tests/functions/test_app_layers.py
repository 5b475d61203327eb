"""An app on the built layers and nothing else: no model of this project has one, so no build holds its function."""

import json
import shutil
from pathlib import Path

import pytest

from modelyard.packaging.targets import APP_LAYERS, FunctionSet, target_of
from modelyard.spec import Engine
from tests.fakes import onnx_models
from tests.fakes.app_function import ROW, asking
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote
from tests.functions.test_layers import BY_TITLE, HANDLER, LOCAL, NOWHERE, PROJECT, Sandbox

OWN = """
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from modelyard.serving.app import LiveVersion, live_version

app = FastAPI()


@app.post("/sum")
async def total(row: dict[str, float], model: Annotated[LiveVersion, Depends(live_version)]) -> dict[str, Any]:
    return {"sum": model.predict([list(row.values())])[0], "version": model.version}
"""


@pytest.mark.parametrize("engine", ["standard", "lean"])
def test_an_app_answers_on_the_layers_that_it_would_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    function = FunctionSet(title="app", target=target_of(LOCAL), layers=APP_LAYERS[engine])
    monkeypatch.setitem(BY_TITLE, function.title, function)
    shutil.copy(PROJECT / "functions" / "app.py", tmp_path)
    (tmp_path / "own_app.py").write_text(OWN)
    with HttpBucket() as bucket:
        promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
        variables = {
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_MODEL": "sums",
            "MODELYARD_ENGINE": engine,
            "MODELYARD_APP": "own_app:app",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        found = Sandbox(tmp_path / "sandbox").run(
            "app",
            f"sys.path.insert(0, {str(tmp_path)!r})\n{HANDLER}",
            environ=NOWHERE | bucket.environment | variables,
            file="app",
            event=asking("POST", "/sum", ROW),
        )
    assert json.loads(found["answer"]["body"]) == {"sum": 3.0, "version": 1}
