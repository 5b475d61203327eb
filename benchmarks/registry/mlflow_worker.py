"""The other side: MLflow's registry over a SQLite file, in an environment of its own.

Reads one JSON command per line and answers with one; the parent (``theirs.py``) interleaves them with our own. Only
MLflow's client is measured: its time, and the SQL statements that it runs.
"""

import hashlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
from sqlalchemy import event
from sqlalchemy.engine import Engine

ARTIFACT = 20_000
ALIAS = "champion"
TIMES = ("creation_time", "last_updated_time")


class Theirs:
    """MLflow's client over ``folder``; each verb is what its users call for the same."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._database = folder, folder / "mlflow.db"
        uri = f"sqlite:///{self._database}"
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        self._client = mlflow.MlflowClient()
        experiment = self._client.create_experiment("benchmark", artifact_location=(folder / "artifacts").as_uri())
        self._run = self._client.create_run(experiment)
        self._made, self._newest, self._statements = 0, {}, 0  # type: ignore[var-annotated]
        event.listen(Engine, "before_cursor_execute", self._count)
        self._check_clones()

    def _count(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._statements += not statement.startswith("PRAGMA")  # settings of a connection

    def fill(self, model: str, versions: int) -> dict[str, Any]:
        """Give ``model`` so many versions: the first by MLflow, the others as clones of its row, with their number."""
        self._client.create_registered_model(model)
        self._create(model)
        self._clone(model, versions)
        self._newest[model] = versions
        (newest,) = self._client.search_model_versions(
            f"name='{model}'", max_results=1, order_by=["version_number DESC"]
        )
        if int(newest.version) != versions:
            raise SystemExit(f"MLflow finds version {newest.version} of {model}, not {versions}")
        self._client.set_registered_model_alias(model, ALIAS, str(versions))
        return {}

    def register(self, model: str) -> dict[str, Any]:
        """A file into the artifact folder, and the version that names it."""
        number = self._newest[model] = self._newest[model] + 1

        def register() -> None:
            made = self._create(model)
            if int(made.version) != number:
                raise SystemExit(f"MLflow made version {made.version} of {model}, not {number}")

        return self._measure(register)

    def resolve(self, model: str) -> dict[str, Any]:
        """The version that the alias names."""
        return self._measure(lambda: self._client.get_model_version_by_alias(model, ALIAS))

    def promote(self, model: str) -> dict[str, Any]:
        """The alias names the newest version."""
        newest = str(self._newest[model])
        return self._measure(lambda: self._client.set_registered_model_alias(model, ALIAS, newest))

    def list(self, model: str) -> dict[str, Any]:
        """The 20 newest versions."""
        order = ["version_number DESC"]
        return self._measure(
            lambda: self._client.search_model_versions(f"name='{model}'", max_results=20, order_by=order)
        )

    def _create(self, model: str) -> Any:
        self._made += 1
        file = self._folder / f"model-{self._made}.onnx"
        file.write_bytes(hashlib.shake_128(file.name.encode()).digest(ARTIFACT))
        self._client.log_artifact(self._run.info.run_id, str(file))
        source = f"{self._run.info.artifact_uri}/{file.name}"
        return self._client.create_model_version(model, source, self._run.info.run_id)

    def _measure(self, call: Any) -> dict[str, Any]:
        self._statements = 0
        began = time.perf_counter()
        call()
        return {"ms": (time.perf_counter() - began) * 1000, "calls": self._statements}

    def _clone(self, model: str, versions: int) -> None:
        with sqlite3.connect(self._database) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(model_versions)")]
            chosen = ", ".join("number" if name == "version" else name for name in columns)
            connection.execute(
                f"""
                WITH RECURSIVE numbers(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
                INSERT INTO model_versions ({", ".join(columns)})
                SELECT {chosen} FROM model_versions, numbers WHERE name = ? AND version = 1 AND number <= ?
                """,  # noqa: S608 - names of columns, from the schema
                (versions, model, versions),
            )
        connection.close()

    def _check_clones(self) -> None:
        """A clone is what MLflow itself writes, but for the times: both make a second version, and are compared."""
        rows = []
        for model in ("made", "cloned"):
            self._client.create_registered_model(model)
            source, run_id = f"{self._run.info.artifact_uri}/model.onnx", self._run.info.run_id
            self._client.create_model_version(model, source, run_id)
            if model == "made":
                self._client.create_model_version(model, source, run_id)
            else:
                self._clone(model, 2)
            with sqlite3.connect(self._database) as connection:
                connection.row_factory = sqlite3.Row
                found = connection.execute("SELECT * FROM model_versions WHERE name = ? AND version = 2", (model,))
                rows.append({**dict(found.fetchone()), "name": "", **dict.fromkeys(TIMES)})
            connection.close()
        if rows[0] != rows[1]:
            raise SystemExit(f"MLflow writes {rows[0]}, a clone is {rows[1]}")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # MLflow prints what it likes
    theirs = Theirs(Path(sys.argv[1]))
    print(json.dumps({"mlflow": mlflow.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        result = getattr(theirs, command["do"])(*command["with"])
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
