"""Finding external data in the bytes of a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from modelyard.external_data import MalformedError, external_files, has_external_data
from tests.fakes.hostile_models import external_everywhere, external_initializer, external_tensor, harmless, model

EVERYWHERE = external_everywhere()


@pytest.mark.parametrize("place", EVERYWHERE)
def test_it_is_found_wherever_the_format_allows_a_tensor(place: str) -> None:
    assert has_external_data(EVERYWHERE[place])


@pytest.mark.parametrize("place", EVERYWHERE)
def test_its_file_and_its_end_are_found_wherever_it_is(place: str) -> None:
    assert external_files(EVERYWHERE[place]) == {("w.bin", 12)}


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "0", "length": "12"},
        {"location": "w.bin", "offset": "0"},
        {"location": "w.bin", "offset": "-4", "length": "12"},
        {"location": "w.bin", "offset": "0", "length": "twelve"},
        {},
    ],
)
def test_a_place_that_is_not_clear_is_malformed(entries: dict[str, str]) -> None:
    tensor = external_tensor("w.bin")
    del tensor.external_data[:]
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    with pytest.raises(MalformedError):
        external_files(model([], initializers=[tensor]).SerializeToString())


def test_a_place_that_is_said_twice_is_malformed() -> None:
    tensor = external_tensor("w.bin")
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(MalformedError):
        external_files(model([], initializers=[tensor]).SerializeToString())


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", ""])
def test_it_is_found_whatever_it_names(location: str) -> None:
    assert has_external_data(external_initializer(location))


def test_either_of_its_two_marks_is_enough() -> None:
    only_location, only_entries = external_tensor("w.bin"), external_tensor("w.bin")
    del only_location.external_data[:]
    only_entries.ClearField("data_location")
    for tensor in (only_location, only_entries):
        assert has_external_data(model([], initializers=[tensor]).SerializeToString())


def test_ordinary_models_have_none() -> None:
    numbers = [1.5] * 100_000
    forest = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_values=numbers,
        nodes_featureids=list(range(100_000)),
        nodes_modes=["LEAF", "location"] * 50_000,
    )
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1000], numbers[:1000])
    weights.data_location = TensorProto.DEFAULT
    noted = model([forest], initializers=[weights], metadata={"location": "external_data"})
    assert not has_external_data(noted.SerializeToString())
    assert not has_external_data(harmless())
    assert external_files(harmless()) == set()


def test_unusual_spellings_of_the_mark_are_found_too() -> None:
    """Protobuf readers accept a field number or an enum in more bytes than it needs, and cut an enum to 32 bits."""
    plain = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3]).SerializeToString()
    for mark in (b"\x70\x01", b"\xf0\x00\x01", b"\xf0\x80\x00\x81\x00", b"\x70\x81\x80\x80\x80\x10"):
        tensor = plain + mark
        assert TensorProto.FromString(tensor).data_location == TensorProto.EXTERNAL
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        whole = b"\x08\x09\x3a" + bytes([len(graph)]) + graph
        assert ModelProto.FromString(whole).graph.initializer[0].data_location == TensorProto.EXTERNAL
        assert has_external_data(whole)


@pytest.mark.parametrize(
    "damaged",
    [
        harmless()[:-5],
        b"\x00" * 20,
        b"\x08",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x3b\x3c",
        b"\x0f",
        b"\xff" * 20,
    ],
    ids=["truncated", "zeros", "half a field", "endless length", "group", "wire type 7", "endless number"],
)
def test_what_cannot_be_walked_is_malformed(damaged: bytes) -> None:
    with pytest.raises(MalformedError):
        has_external_data(damaged)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer(noise: bytes) -> None:
    try:
        has_external_data(noise)
    except MalformedError:
        return


@given(st.data())
def test_damage_to_a_model_with_external_data_hides_nothing_that_a_parser_still_sees(data: st.DataObject) -> None:
    whole = bytearray(EVERYWHERE["graph in a graph"])
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = ModelProto.FromString(bytes(whole))
    except Exception:  # noqa: BLE001 - whatever the parser refuses is refused by onnxruntime too
        return
    seen = any(
        tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors_of(parsed.graph)
    )
    try:
        found = has_external_data(bytes(whole))
    except MalformedError:
        return
    assert found or not seen


def _tensors_of(graph):  # type: ignore[no-untyped-def]
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors_of(inner)
