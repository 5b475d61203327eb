"""ZipMap: scikit-learn's converter wraps probabilities into a list with a dictionary for each row.

A list of dictionaries costs more than the model that made it and cannot be a tensor in any protocol. What it adds is
the names of the classes, which go into the metadata (`modelyard.predictor.signature.CLASSES_KEY`). What it was made
from is the probabilities, float32 ``[batch, classes]``, and they become the output.
"""

import json

from modelyard.compiling.onnx_file import ML, NODE, OUTPUT, Node, OnnxFile, new_node, new_value
from modelyard.external_data import MalformedError
from modelyard.predictor.signature import CLASSES_KEY


def zipmap_classes(model: bytes) -> dict[str, list[str] | list[int]]:
    """The classes of every output that is a ZipMap's, by the output's name, in the order of the probabilities.

    They are the keys of the dictionaries that the output holds: text or numbers, as the model has them.

    Args:
        model: The bytes of an ONNX file.

    Raises:
        MalformedError: When they are not one.
    """
    file = OnnxFile(model)
    outputs = set(file.names(OUTPUT))
    return {node.outputs[0]: classes for _, node, classes in _zipmaps(file) if node.outputs[0] in outputs}


def without_zipmap(model: bytes) -> bytes | None:
    """The model with probabilities instead of lists of dictionaries; None where it has none, or two that differ.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
    """
    file = OnnxFile(model)
    found = _zipmaps(file)
    lists = {tuple(classes) for _, _, classes in found}
    if len(lists) != 1 or any(file.output_place(node.outputs[0]) is None for _, node, _ in found):
        return None
    classes = lists.pop()
    if not classes or len({str(name) for name in classes}) != len(classes):
        return None
    while found := _zipmaps(file):  # each time anew: the names in those that are left may have changed
        _replace(file, *found[0][:2], len(classes))
    if CLASSES_KEY not in file.metadata():
        file.add_metadata(CLASSES_KEY, json.dumps(list(classes), ensure_ascii=False))
    return file.to_bytes()


def _zipmaps(file: OnnxFile) -> list[tuple[int, Node, list[str] | list[int]]]:
    found = []
    for place, node in file.nodes():
        if (node.kind, node.domain) != ("ZipMap", ML):
            continue
        if len(node.inputs) != 1 or len(node.outputs) != 1:
            raise MalformedError(f"a ZipMap with {len(node.inputs)} inputs and {len(node.outputs)} outputs")
        text = node.attributes.get("classlabels_strings")
        numbers = node.attributes.get("classlabels_int64s")
        classes: list[str] | list[int] = []
        if text is not None and text.value is not None:
            classes = [name.decode() for name in text.value]
        elif numbers is not None and numbers.value is not None:
            classes = numbers.value.tolist()
        found.append((place, node, classes))
    return found


def _replace(file: OnnxFile, place: int, zipmap: Node, classes: int) -> None:
    """Let what the ZipMap was made from have its output's name; an Identity where that is not possible."""
    name, source = zipmap.outputs[0], zipmap.inputs[0]
    declared = file.output_place(name)
    assert declared is not None  # noqa: S101 - the caller has looked; for the type checker
    file.replace(declared, OUTPUT, new_value(name, "batch", classes))
    nodes = file.nodes()
    makers = [(at, node) for at, node in nodes if source in node.outputs]
    seen = source in file.names(OUTPUT) or any(node.holds_graphs() for _, node in nodes)
    if len(makers) != 1 or seen:
        file.replace(place, NODE, new_node("Identity", [source], [name]))
        return
    at, maker = makers[0]
    file.replace(at, NODE, maker.with_outputs([name if output == source else output for output in maker.outputs]))
    for used, user in nodes:
        if used not in (place, at) and source in user.inputs:
            file.replace(used, NODE, user.with_inputs([name if taken == source else taken for taken in user.inputs]))
    file.replace(place, NODE)
