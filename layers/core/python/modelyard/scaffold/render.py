"""The text of a ``model.toml``: everything that was decided, with the reason beside it.

The rule: hand-readable. Keys that keep their default are left out, and what a person may want to change has a comment.
"""

import json
from collections.abc import Iterator
from typing import Any

from modelyard.scaffold.brought import NUMBER, TEXT, shape
from modelyard.scaffold.draft import ColumnDraft, Draft, TrainingDraft
from modelyard.toml import dotted

EXAMPLE_FILE = "example.json"
_WIDTH = 40


def render(draft: Draft) -> str:
    """The text of ``model.toml``."""
    lines = _trained(draft, draft.training) if draft.training else _brought(draft)
    return "\n".join(lines) + "\n"


def render_example(instances: list[dict[str, Any]]) -> str:
    """The text of ``example.json``: one instance a line."""
    rows = ",\n".join(f"    {json.dumps(instance, ensure_ascii=False)}" for instance in instances)
    return f'{{\n  "instances": [\n{rows}\n  ]\n}}\n'


def _brought(draft: Draft) -> Iterator[str]:
    yield f"# A model that was brought as a finished ONNX file, {_comment(draft.source)}. Every key: docs/spec.md."
    yield ""
    made_up = f'made up: every number is {NUMBER}, every text "{TEXT}"; put a real request there'
    example = (f"example = {_value(EXAMPLE_FILE)}", made_up)
    if not draft.instances:
        example = (f"# {example[0]}", "a first request; one for this model is too large to be made up")
    artifact = (f"artifact = {_value(draft.file)}", "loaded and tried once when this file was written")
    yield from _model(draft, artifact, example, description="")
    if draft.signature is not None:
        yield ""
        yield "# What it takes and gives:"
        for role, tensors in (("input", draft.signature.inputs), ("output", draft.signature.outputs)):
            for tensor in tensors:
                yield f"#   {role:<7}{_comment(tensor.name)}  {tensor.dtype} {shape(tensor)}"


def _trained(draft: Draft, training: TrainingDraft) -> Iterator[str]:
    yield f"# Predicts {_comment(training.target)} from the files in data/, and is trained again when one is uploaded."
    yield "# Every key: docs/spec.md."
    yield ""
    example = (f"example = {_value(EXAMPLE_FILE)}", f"real rows of {draft.source}")
    yield from _model(draft, example, description=f"Predicts {training.target}.")
    yield ""
    yield "[training]"
    yield from _keys((f"target = {_value(training.target)}", training.target_note))
    if training.timeout_s != 600:
        yield from _keys((f"timeout_s = {training.timeout_s}", "the longest there is, for many rows"))
    yield ""
    yield "[training.features]  # a request has these keys"
    yield from _keys(*[_feature(column) for column in training.features])
    if training.left_out:
        yield "# Left out. Put a line in only where the value is known before the answer is:"
        yield from _keys(*[_feature(column) for column in training.left_out])
    yield ""
    yield "# All combinations are tried by cross-validation; the best by the metric below wins."
    for kind, grid in training.candidates:
        yield "[[training.candidates]]"
        yield f"kind = {_value(kind)}"
        if grid:
            yield f"grid = {{ {', '.join(f'{name} = {_value(values)}' for name, values in grid.items())} }}"
        yield ""
    yield "[[triggers]]"
    yield from _keys(
        ('kind = "upload"', "modelyard upload, or any file under the model's prefix in the data bucket"),
        (f"minimum_rows = {training.minimum_rows}", "a file with fewer is rejected"),
    )
    yield ""
    yield "[evaluation]"
    yield from _keys(
        (f"metric = {_value(training.metric)}", "what decides between the live version and a new one"),
        ("holdout = 0.2", "share of rows that no version trains on"),
        (f"min_improvement = {_value(training.min_improvement)}", training.min_improvement_note),
    )
    yield ""
    yield "[rollout]"
    yield from _keys(("automatic = true", "a better version goes live by itself; false: 'modelyard promote' does it"))


def _model(draft: Draft, *more: tuple[str, str], description: str) -> Iterator[str]:
    yield "[model]"
    yield from _keys(
        (f"name = {_value(draft.name)}", "the folder's name"),
        (f"task = {_value(draft.task)}", draft.task_note),
        (f"description = {_value(description)}", "one sentence for people who find the model in a list"),
        ('owner = ""', "who is asked when it misbehaves"),
        *more,
    )


def _feature(column: ColumnDraft) -> tuple[str, str]:
    line = f"{dotted((column.name,))} = {{ kind = {_value(column.kind or column.instead or 'category')} }}"
    if column.kind is not None:
        return line, column.note
    return f"# {line}" if column.instead else f"# {_comment(column.name) or '(no name)'}", column.note


def _keys(*lines: tuple[str, str]) -> Iterator[str]:
    """Lines with their comments below each other."""
    width = min(_WIDTH, max((len(line) for line, _ in lines), default=0))
    for line, comment in lines:
        yield f"{line:<{width}}  # {_comment(comment)}"


def _comment(text: str) -> str:
    """Text that cannot end its line: a column's name or a file's may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's escapes are TOML's; only DEL needs one in TOML and has none in JSON.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
