"""Reading and writing ONNX files without the onnx package: what is not edited stays as it was."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from modelyard.compiling import attributes, protobuf
from modelyard.compiling.onnx_file import ML, NODE, OUTPUT, OnnxFile
from modelyard.external_data import MalformedError
from tests.fakes import hostile_models, onnx_models, realistic_models

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50)


def read(attribute: Any) -> Any:
    return attributes.read(memoryview(attribute.SerializeToString())).value


@pytest.mark.parametrize(
    "model",
    [
        onnx_models.row_sum(),
        onnx_models.classifier(),
        hostile_models.endless_loop(),
        *hostile_models.external_everywhere().values(),
        realistic_models.text_encoder(layers=1, width=24, words=50, heads=2),
    ],
)
def test_a_file_that_is_not_edited_is_the_same_file(model: bytes) -> None:
    assert OnnxFile(model).to_bytes() == model


@given(NUMBERS)
def test_numbers_are_read_as_the_onnx_package_writes_them(numbers: list[int]) -> None:
    assert read(helper.make_attribute("a", numbers)).tolist() == numbers


@given(NUMBERS)
def test_numbers_are_written_as_the_onnx_package_reads_them(numbers: list[int]) -> None:
    written = AttributeProto.FromString(attributes.write("a", np.array(numbers, np.int64)))
    assert written == helper.make_attribute("a", numbers)
    assert attributes.read(memoryview(attributes.write("a", np.array(numbers)))).value.tolist() == numbers


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_float_lists_keep_their_bits_both_ways(numbers: list[float]) -> None:
    array = np.array(numbers, np.float32)
    attribute = helper.make_attribute("a", numbers)
    assert read(attribute).tobytes() == array.tobytes()
    assert AttributeProto.FromString(attributes.write("a", array)) == attribute


@pytest.mark.parametrize("value", [7, -1, 2**62, b"text", [b"a", b"J", b"LEAF", b""], "\u00fc".encode()])
def test_other_attributes_are_read_and_written(value: Any) -> None:
    attribute = helper.make_attribute("a", value)
    assert read(attribute) == value
    assert AttributeProto.FromString(attributes.write("a", value)) == attribute


def test_one_float_is_read() -> None:
    assert read(helper.make_attribute("a", 0.5)) == 0.5


def test_the_modes_of_a_forest_are_text_like_any_other() -> None:
    modes = [b"BRANCH_LEQ", b"LEAF", b"BRANCH_NEQ", b"other", b"BRANCH_GT", b"LEAF"]
    assert read(helper.make_attribute("nodes_modes", modes)) == modes


def test_tensors_are_written_as_the_onnx_package_reads_them() -> None:
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.uint8), np.array([-5], np.int64)):
        tensor = TensorProto.FromString(attributes.tensor(array, "t"))
        assert tensor.name == "t"
        assert numpy_helper.to_array(tensor).tolist() == array.tolist()
    words = TensorProto.FromString(attributes.strings_tensor([b"a", b"b"], "w"))
    assert numpy_helper.to_array(words).tolist() == ["a", "b"]


def test_a_forest_of_a_million_numbers_is_read_in_a_moment() -> None:
    numbers = list(range(1_000_000))
    message = memoryview(helper.make_attribute("nodes_nodeids", numbers).SerializeToString())
    began = time.perf_counter()
    assert attributes.read(message).value.tolist() == numbers
    assert time.perf_counter() - began < 1.0  # field by field it takes three seconds


def test_opsets_and_metadata_are_edited_and_the_rest_is_kept() -> None:
    file = OnnxFile(onnx_models.classifier())
    file.set_opset(ML, 5)
    file.set_opset("", 18)
    file.add_metadata("noted", "grün")
    file.raise_ir_version(10)
    edited = OnnxFile(file.to_bytes())
    assert (edited.opset(ML), edited.opset(""), edited.opset("other")) == (5, 18, None)
    assert edited.metadata() == {"modelyard.classes": '["rain", "sun", "snow"]', "noted": "grün"}
    assert edited.names(OUTPUT) == ["label", "probabilities"]
    assert [node.kind for _, node in edited.nodes()] == ["Softmax", "ArgMax"]


def test_an_operation_is_replaced_where_it_was() -> None:
    file = OnnxFile(onnx_models.row_sum())
    (place, first), _ = file.nodes()
    file.replace(place, NODE, first.with_outputs(["other"]), first.with_inputs(["x", "more"]))
    assert [(node.inputs, node.outputs) for _, node in OnnxFile(file.to_bytes()).nodes()] == [
        (["x", "axes"], ["other"]),
        (["x", "more"], ["s"]),
        (["s", "plus"], ["y"]),
    ]


def test_half_floats_are_seen() -> None:
    weights = numpy_helper.from_array(np.zeros(3, np.float16), "w")
    half = hostile_models.model([helper.make_node("Identity", ["w"], ["y"])], initializers=[weights])
    assert OnnxFile(half.SerializeToString()).has_half_floats()
    assert not OnnxFile(onnx_models.row_sum()).has_half_floats()


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00" * 20, b"\x3a\x05\x01", b"\xff" * 20, hostile_models.harmless()[:-5], b"\x0b\x0c"]
)
def test_what_cannot_be_walked_is_malformed(damaged: bytes) -> None:
    with pytest.raises(MalformedError):
        OnnxFile(damaged).nodes()


@pytest.mark.parametrize(
    "message",
    [
        *(b"\x42\x01\x80", b"\x42\x0b" + b"\x80" * 10 + b"\x01", b"\x3a\x03\x00\x00\x00"),  # lists that break off
        *(b"\x0a\x01\xff", b"\x08\x01"),  # a name that is no UTF-8, or a number
        *(b"\x10\x01", b"\x18" + b"\x80" * 11, b"\xc0\x00\x05"),  # a float as an integer, no end, a tag in two bytes
    ],
)
def test_a_damaged_attribute_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedError):
        attributes.read(memoryview(message))


@given(st.binary(max_size=200))
def test_noise_is_read_or_malformed_and_nothing_else(noise: bytes) -> None:
    for walk in (lambda: attributes.read(memoryview(noise)), lambda: OnnxFile(noise).nodes()):
        try:
            walk()
        except MalformedError:
            continue


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_number_survives_writing_and_reading(number: int) -> None:
    (field,) = protobuf.fields(memoryview(protobuf.number(3, number)))
    assert field.value == number & 0xFFFFFFFFFFFFFFFF
