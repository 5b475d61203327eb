"""What a ``model.toml`` has to keep beyond the types of its keys: single values, keys that agree, files that are there.

The rules between keys read the raw document, because a typed one exists only when every key is right, and a user wants
to hear of both at once. They say nothing about a value of a wrong type: the schema does.
"""

import json
import keyword
import re
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from modelyard.names import name_problem, tag_problem, text_problem
from modelyard.toml import Problem, dotted, nearest, value_at

SERVING_PACKAGES = frozenset(
    {"flatbuffers", "google", "modelyard", "msgspec", "numpy", "obstore", "onnxruntime", "orjson", "packaging"}
    | {"typing_extensions"}
)
"""What lies beside a model's own package on the endpoint, and would be hidden by one of the same name."""

_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}")  # a token of RFC 9110, as header names are
_CRON_FIELD = re.compile(r"[0-9A-Za-z*?/,#-]+")


def portable_name(value: str) -> str:
    """``value``, when it can be a model's name."""
    problem = name_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def tags(values: list[str]) -> list[str]:
    """``values``, when they can be a model's tags."""
    problem = next(filter(None, map(tag_problem, values)), None)
    if problem is not None:
        raise ValueError(problem)
    return values


def path_inside(value: str) -> str:
    """``value``, when it is a path inside the model's folder, on every system."""
    if not _stays_inside(value):
        raise ValueError(f"{value!r} leaves the model's folder; give a path inside it")
    if "\\" in value or not value.isprintable():
        raise ValueError(f"{value!a} is not portable; separate folders with '/', without control characters")
    return value


def _stays_inside(value: str) -> bool:
    parts = Path(value).parts
    return bool(parts) and ".." not in parts and not Path(value).is_absolute() and not PureWindowsPath(value).drive


def own_package(value: str) -> str:
    """``value``, when a model's package may be called so."""
    if not (value.isascii() and value.isidentifier()) or keyword.iskeyword(value):
        raise ValueError(f"{value!r} is not the name of a Python package: letters, digits and '_'")
    if value in sys.stdlib_module_names or value in SERVING_PACKAGES:
        raise ValueError(f"{value!r} is the name of a package that the endpoint imports itself; choose another")
    return value


def own_app(value: str) -> str:
    """``value``, when it names an app in a package that a model may have."""
    module, colon, attribute = value.partition(":")
    names = [*module.split("."), attribute]
    if not colon or not all(name.isascii() and name.isidentifier() and not keyword.iskeyword(name) for name in names):
        raise ValueError(f"{value!r} names no app; write 'package.module:attribute', like 'iris_model.web:app'")
    own_package(names[0])
    return value


def own_entry(value: str) -> str:
    """``value``, when it names a function in a package that a model may have, or a notebook in its folder."""
    if value.endswith(".ipynb"):
        return path_inside(value)
    module, colon, attribute = value.partition(":")
    names = [*module.split("."), attribute]
    if not colon or not all(name.isascii() and name.isidentifier() and not keyword.iskeyword(name) for name in names):
        raise ValueError(
            f"{value!r} names no training code; write 'package.module:function', like 'iris_model.training:train', or "
            "a notebook, like 'train.ipynb'"
        )
    own_package(names[0])
    return value


def instance(value: str) -> str:
    """``value``, when SageMaker may have such an instance."""
    if not _INSTANCE.fullmatch(value):
        raise ValueError(f"{value!r} is not an instance type of SageMaker; write one like 'ml.m5.xlarge'")
    return value


def cron(value: str) -> str:
    """``value``, when it has the six fields that EventBridge takes."""
    fields = value.split()
    if len(fields) != 6 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError(
            f"{value!r} is not minutes, hours, day of month, month, day of week, year, like '0 3 ? * MON *'"
        )
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError(f"{value!r} needs '?' for the day of the month or for the day of the week, and not for both")
    return value


def timezone(value: str) -> str:
    """``value``, when there is such a time zone."""
    if value != "UTC" and value not in zoneinfo.available_timezones():
        raise ValueError(f"{value!r} is no time zone; write one like 'Europe/Berlin'")
    return value


def column(value: str) -> str:
    """``value``, when a training file can have a column of that name."""
    if not value or value != value.strip():
        raise ValueError(f"{value!r} is not a column's name: names are not empty, and reading a file cuts off blanks")
    return value


def key_part(value: str) -> str:
    """``value``, when an EventBridge pattern takes it literally."""
    if "*" in value or "\\" in value or not value.isprintable():
        raise ValueError(f"{value!a} is compared as it is; it may hold no '*', backslash or control character")
    return value


def reason(value: str) -> str:
    """``value``, when the ledger takes it as a reason."""
    problem = text_problem(value) if value.strip() else "is empty; say it in a sentence"
    if problem is not None:
        raise ValueError(f"it {problem}")
    return value


def routing(value: str) -> str:
    """``value``, when requests can be routed by it."""
    kind, colon, name = value.partition(":")
    if (kind in {"request", "caller"} and not colon) or (kind == "field" and name and name == name.strip()):
        return value
    if kind == "header" and _HEADER.fullmatch(name):
        return value
    raise ValueError(
        f"{value!r} routes nothing; write 'request', 'caller', 'header:<name>' like 'header:x-session', or "
        "'field:<input>' like 'field:customer'"
    )


def setting(value: object) -> object:
    """``value``, when it is one value of a candidate's setting."""
    if not isinstance(value, float | int | bool | str):
        # pydantic turns only a ValueError into a finding
        raise ValueError("must be a number, text, true or false; values to try are one list")  # noqa: TRY004
    return value


def disagreements(document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between the keys of a document."""
    training = value_at(document, "training")
    brought = value_at(document, "model", "artifact") is not None
    if value_at(document, "endpoint", "engine") == "lean" and value_at(document, "model", "code") is not None:
        yield "endpoint.engine", "is 'lean' beside model.code, which gets numpy arrays; only 'standard' has numpy"
    yield from _wrong_contract(value_at(document, "contract"), training)
    yield from _unknown_inputs(document)
    if training is None:
        if not brought:
            yield "", "needs either model.artifact (a finished ONNX file) or a [training] section"
        return
    if brought:
        yield "model.artifact", "stands beside [training]; a model is either brought or trained"
    if value_at(document, "model", "code") is not None:
        yield "model.code", "stands beside [training]; a trained model has its preprocessing in the ONNX file"


def _wrong_contract(contract: object, training: object) -> Iterator[Problem]:
    """What does not fit about ``[contract]``; the inputs of a model that is brought are known when it is registered."""
    features = value_at(training, "features")
    if training is not None and value_at(contract, "sample") is not None:
        yield "contract.sample", "stands beside [training]; what a trained model saw is its training data"
    if training is None and value_at(contract, "accept_breaking") is not None:
        yield "contract.accept_breaking", "is for retraining; a model that is brought has 'register --accept-breaking'"
    fields = value_at(contract, "fields")
    for name, said in fields.items() if isinstance(fields, dict) else ():
        key = dotted(("contract", "fields", name))
        low, high = value_at(said, "minimum"), value_at(said, "maximum")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield f"{key}.minimum", f"{low} is above the maximum, {high}"
        if not isinstance(features, dict) or not features:
            continue
        if name not in features:
            yield key, f"is no input of the model; {nearest(name, sorted(features))}"
        elif value_at(features[name], "kind") in ("category", "date", "text"):
            if low is not None or high is not None:
                yield key, f"has a range; {name!r} is text"
            if value_at(said, "mode") == "clip":
                yield f"{key}.mode", f"{name!r} is text, which cannot be clipped; 'reject' or 'warn'"


def _unknown_inputs(document: dict[str, Any]) -> Iterator[Problem]:
    """Inputs that ``[rollout]`` and ``[monitoring]`` name and a model that is trained here does not have."""
    features = value_at(document, "training", "features")
    if not isinstance(features, dict) or not features:
        return
    kind, _, name = str(value_at(document, "rollout", "routing")).partition(":")
    if kind == "field" and name and name not in features:
        yield "rollout.routing", f"{name!r} is no input of the model; {nearest(name, sorted(features))}"
    redact = value_at(document, "monitoring", "redact")
    for name in redact if isinstance(redact, list) else ():
        if isinstance(name, str) and name not in features:
            yield "monitoring.redact", f"{name!r} is no input of the model; {nearest(name, sorted(features))}"


def wrong_files(document: dict[str, Any], folder: Path) -> Iterator[Problem]:
    """What a document says about its folder and is not so."""
    section = value_at(document, "model")
    name, code = value_at(section, "name"), value_at(section, "code")
    if isinstance(name, str) and name != folder.name:
        yield "model.name", f"{name!r} differs from the folder's name {folder.name!r}; the two are the same"
    for key in ("artifact", "example"):
        relative = value_at(section, key)
        if not isinstance(relative, str) or not relative.isprintable() or not _stays_inside(relative):
            continue
        if not (folder / relative).is_file():
            yield f"model.{key}", f"{relative!r} is not a file in the model's folder"
        elif key == "example" and (problem := _wrong_example(folder / relative)) is not None:
            yield "model.example", f"{relative!r} {problem}"
    places = _module_files(value_at(section, "app"))
    if places and not any((folder / "python" / place).is_file() for place in places):
        yield "model.app", f"python/{places[0]} is missing from the model's folder"
    sample = value_at(document, "contract", "sample")
    if isinstance(sample, str) and sample.isprintable() and _stays_inside(sample) and not (folder / sample).is_file():
        yield "contract.sample", f"{sample!r} is not a file in the model's folder"
    entry = value_at(document, "training", "entry")
    places = _module_files(entry)
    if isinstance(entry, str) and entry.endswith(".ipynb"):
        if entry.isprintable() and _stays_inside(entry) and not (folder / entry).is_file():
            yield "training.entry", f"{entry!r} is not a file in the model's folder"
    elif places and not any((folder / "python" / place).is_file() for place in places):
        yield "training.entry", f"python/{places[0]} is missing from the model's folder"
    if isinstance(code, str) and code.isidentifier() and not (folder / "python" / code / "__init__.py").is_file():
        yield "model.code", f"python/{code}/__init__.py is missing from the model's folder"


def _module_files(app: object) -> tuple[str, ...]:
    """Where the module of ``package.module:attribute`` may lie, below ``python/``; nowhere if it is not like that."""
    parts = app.partition(":")[0].split(".") if isinstance(app, str) else []
    if not parts or not all(map(str.isidentifier, parts)):
        return ()
    return ("/".join(parts) + ".py", "/".join((*parts, "__init__.py")))


def _wrong_example(path: Path) -> str | None:
    try:
        instances = value_at(json.loads(path.read_bytes()), "instances")
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    if not isinstance(instances, list) or not instances:
        return 'is not {"instances": [...]} with at least one instance'
    return None
