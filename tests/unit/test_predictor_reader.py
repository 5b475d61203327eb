"""Requests to arrays: one pass and slow path take and give the same, and the contract holds in both."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.contract.document import Contract, Field
from modelyard.errors import RequestError
from modelyard.predictor import enforcement
from modelyard.predictor import reader as reader_module
from modelyard.predictor.array import Array
from modelyard.predictor.encode import limits
from modelyard.predictor.reader import Reader, read_instances, read_json
from modelyard.predictor.signature import FLOATS, INTEGERS, Signature, Tensor

OUTPUT = (Tensor("y", "float32", (None,)),)


def reading(*tensors: Tensor, **fields: Field) -> Reader:
    contract = Contract(rows=10, fields=fields) if fields else None
    return Reader(Signature(tensors, OUTPUT), contract)


def field(tensor: Tensor, **rules) -> Field:
    return Field(dtype=tensor.dtype, shape=tensor.shape, **{"mode": "reject", "nulls": False, **rules})


def body(*instances) -> str:
    return json.dumps({"instances": instances})


def seen(batch) -> tuple:
    return batch.rows, [bits(array) for array in batch.arrays], batch.warnings


def bits(array: Array) -> tuple:
    return array.dtype, tuple(array.shape), array.buffer if array.dtype == "string" else bytes(array.buffer)


def slowly(reader: Reader, text: str):
    return reader.batch(read_instances(text))


def refused(reader: Reader, text: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        reader.read(text)
    return caught.value


@pytest.fixture
def only_fast(monkeypatch):
    """A request that needs the slow path fails."""

    def slow(body):
        raise AssertionError("the slow path was asked")

    monkeypatch.setattr(reader_module, "read_instances", slow)


TEMPERATURE = Tensor("temp max", "float32", (None, 1))
WEATHER = Tensor("weather", "string", (None, 1))
MATRIX = Tensor("x", "float32", (None, 3))
PICTURE = Tensor("x", "float64", (None, 1, 2, 2))


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([TEMPERATURE, WEATHER], body({"temp max": 5, "weather": "rain"}, {"weather": "", "temp max": None})),
        ([TEMPERATURE], body(5, 6.5)),
        ([TEMPERATURE], body({"temp max": 5})),
        ([MATRIX], body([1, 2.5, 3])),
        ([MATRIX], body({"x": [1, 2.5, 3]}, {"x": [4, 5, 6]})),
        ([PICTURE], body([[[1, 2], [3, 4]]])),
        ([Tensor("日本", "bool", (None,))], body(True, False)),
        ([Tensor("x", "int8", (None, 2))], body([-128, 127])),
        ([Tensor("x", "uint64", (None,))], body(0, 2**64 - 1)),
        ([Tensor("x", "float16", (None,))], body(1.5, -65504)),
    ],
)
def test_what_most_requests_look_like_is_read_in_one_pass(only_fast, tensors, text):
    assert seen(reading(*tensors).read(text)) == seen(reading(*tensors).batch(json.loads(text)["instances"]))


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (TEMPERATURE, body([5], {"temp max": [6]}, 7)),
        (MATRIX, body([1, 2, 3], {"x": [4, 5, 6]})),
        (Tensor("x", "float32", (None, None)), body([1, 2, 3], [4, 5, 6])),
        (WEATHER, body("12:30", "a:b")),
        (Tensor('say "x"', "float32", (None,)), body({'say "x"': 1})),
    ],
)
def test_what_is_rarer_is_read_as_well(tensor, text):
    assert seen(reading(tensor).read(text)) == seen(slowly(reading(tensor), text))


@pytest.mark.parametrize(
    "text",
    [
        '{"instances": [{"x": 1, "x": 2}]}',
        '{"instances": [1], "instances": [2]}',
        '{"instances": [{"x": 1, "\\u0078": 2}]}',
    ],
)
def test_a_key_twice_is_refused_though_the_decoder_takes_it(text):
    assert refused(reading(Tensor("x", "float32", (None,))), text).code == "duplicate_key"


# -- one pass and slow path agree -------------------------------------------------------------------------------------

NAMES = st.sampled_from(["x", "temp max", "日本", "a:b", ""])
SHAPES = st.sampled_from([(None,), (None, 1), (None, 3), (None, 2, 2), (None, None)])
DTYPES = st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool", "string"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-200, 300), st.text(max_size=3),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, 1, -1, 1.0, 5.5, 1e39, 65520, "rain", "sun"]),
)  # fmt: skip
LIMITS = st.one_of(st.none(), st.sampled_from([-1, 0, 1, 5.5, 100]))


def whole_limits(dtype: str) -> st.SearchStrategy:
    return st.one_of(st.none(), st.integers(0, 100), st.just(int(limits(dtype)[1])))


@st.composite
def readers_and_bodies(draw) -> tuple[Reader, str]:
    names = draw(st.lists(NAMES.filter(bool), min_size=1, max_size=3, unique=True))
    tensors = tuple(Tensor(name, draw(DTYPES), draw(SHAPES)) for name in names)
    fields = {tensor.name: draw(fields_of(tensor)) for tensor in tensors if draw(st.booleans())}
    contract = Contract(rows=1, fields=fields) if fields else None
    rows = draw(st.lists(st.fixed_dictionaries({t.name: values(t) for t in tensors}), min_size=1, max_size=4))
    if len(tensors) == 1 and draw(st.booleans()):
        rows = [row[names[0]] for row in rows]
    elif draw(st.integers(0, 9)) == 0:
        rows[0].pop(names[0])
    return Reader(Signature(tensors, OUTPUT), contract), json.dumps(
        {"instances": rows}, ensure_ascii=draw(st.booleans())
    )


def values(tensor: Tensor) -> st.SearchStrategy:
    good = {
        "bool": st.booleans(),
        "string": st.sampled_from(["rain", "sun", "", "snow", "12:30"]),
        **dict.fromkeys(FLOATS, st.one_of(st.integers(-5, 200), st.floats(-1e3, 1e3))),
        **dict.fromkeys(INTEGERS, st.integers(0, 100)),
    }[tensor.dtype]
    leaf = st.one_of(good, good, good, LEAVES)
    shape = [2 if size is None else size for size in tensor.shape[1:]]
    if tensor.scalar:
        return st.one_of(leaf, leaf, leaf, st.lists(leaf, min_size=1, max_size=2))
    for size in reversed(shape):
        leaf = st.lists(leaf, min_size=size, max_size=size)
    return st.one_of(leaf, leaf, leaf, LEAVES)


def fields_of(tensor: Tensor) -> st.SearchStrategy:
    rules: dict = {"mode": st.sampled_from(["reject", "warn"]), "nulls": st.booleans()}
    if tensor.dtype == "string":
        rules["categories"] = st.one_of(st.none(), st.just({"rain": 0.5, "sun": 0.5}))
    elif tensor.dtype != "bool":
        rules["mode"] = st.sampled_from(["reject", "clip", "warn"])
        limit = LIMITS if tensor.dtype in FLOATS else whole_limits(tensor.dtype)
        row = tensor.shape[1:]
        lowest = st.one_of(limit, st.just((0.0, 1.0, 2.0))) if row == (3,) and tensor.dtype in FLOATS else limit
        rules |= {"minimum": lowest, "maximum": limit}
    return st.fixed_dictionaries(rules).map(lambda drawn: field(tensor, **drawn))


@settings(max_examples=1500, deadline=None)
@given(readers_and_bodies())
@example((reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, maximum=5.0)}), body(5)))
@example((reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, maximum=5.0)}), body(5.0000001)))
def test_one_pass_and_slow_path_agree(drawn):
    reader, text = drawn
    assert outcome(reader.read, text) == outcome(lambda asked: slowly(reader, asked), text)


def test_a_row_that_can_only_be_empty_is_refused_on_both_ways():
    reader = Reader(Signature((Tensor("x", "float32", (None, 0)),), ()))
    for read in (Reader.read, slowly):
        with pytest.raises(RequestError):
            read(reader, '{"instances": [[]]}')


def outcome(read, text: str) -> tuple:
    try:
        return seen(read(text))
    except RequestError as error:
        return error.code, error.field, error.row, error.message


# -- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [Reader.read, slowly], ids=["one pass", "slow path"])
class TestContract:
    @pytest.mark.parametrize(
        ("dtype", "minimum", "maximum", "least", "most"),
        [
            ("uint64", 2, 2**64 - 1, 2, 2**64 - 1),
            ("int64", -(2**63), 2**63 - 1, -(2**63), 2**63 - 1),
        ],
    )
    def test_limits_that_no_decoder_holds_are_kept_all_the_same(self, read, dtype, minimum, maximum, least, most):
        tensor = Tensor("x", dtype, (None, 1))
        reader = reading(tensor, x=field(tensor, minimum=minimum, maximum=maximum))
        assert read(reader, body(least, most)).rows == 2
        if minimum > 0:
            with pytest.raises(RequestError) as caught:
                read(reader, body(least, 0))
            assert (caught.value.code, caught.value.row) == ("outside_range", 1)

    def test_a_value_outside_its_range_is_refused_with_row_value_and_range(self, read):
        reader = reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, minimum=-28.5, maximum=57.1)})
        assert read(reader, body(-28.5, 57.1)).rows == 2
        with pytest.raises(
            RequestError, match=r"'temp max' of instance 1 is 57.2; the contract allows -28.5 to 57.1"
        ) as caught:
            read(reader, body(0, 57.2))
        assert (caught.value.code, caught.value.status, caught.value.row) == ("outside_range", 422, 1)
        assert caught.value.field == "temp max"

    @pytest.mark.parametrize(
        ("dtype", "value", "minimum", "maximum", "said"),
        [
            ("int64", 2**53, 2**53 + 1, 2**63 - 2, "9007199254740992; the contract allows 9007199254740993 to "
             "9223372036854775806"),
            ("uint64", 2**64 - 1, 0, 2**64 - 2, "18446744073709551615; the contract allows 0 to 18446744073709551614"),
            ("float32", 1234568, None, 1234567, "1234568; the contract allows at most 1234567"),
            ("float32", 1.0000001, 0.1, 1, "1.00000012; the contract allows 0.100000001 to 1"),
            ("float64", 0.09999999999999999, 0.1, None, "0.099999999999999992; the contract allows at least "
             "0.10000000000000001"),
            ("float16", 0.0999, 0.1, 1, "0.09991; the contract allows 0.09998 to 1"),
        ],
    )  # fmt: skip
    def test_a_value_just_outside_is_told_from_its_limit(self, read, dtype, value, minimum, maximum, said):
        tensor = Tensor("x", dtype, (None, 1))
        reader = reading(tensor, x=field(tensor, minimum=minimum, maximum=maximum))
        with pytest.raises(RequestError) as caught:
            read(reader, body(value))
        assert str(caught.value).startswith(f"'x' of instance 0 is {said}")

    def test_each_column_of_a_matrix_has_its_own_range(self, read):
        reader = reading(MATRIX, x=field(MATRIX, minimum=(0.0, 10.0, 20.0), maximum=(1.0, 11.0, 21.0)))
        assert read(reader, body([1, 10, 20.5])).rows == 1
        with pytest.raises(RequestError, match=r"'x' of instance 1 \[1\] is 12; the contract allows 10 to 11"):
            read(reader, body([1, 10, 20], [0, 12, 20]))

    def test_one_range_holds_for_all_elements_of_a_picture(self, read):
        reader = reading(PICTURE, x=field(PICTURE, minimum=0.0, maximum=16.0))
        assert read(reader, body([[[0, 16], [3, 4]]])).rows == 1
        with pytest.raises(RequestError, match="is 17"):
            read(reader, body([[[0, 16], [3, 17]]]))

    def test_a_text_that_was_never_seen_is_refused_with_those_that_were(self, read):
        reader = reading(WEATHER, weather=field(WEATHER, categories={"rain": 0.6, "sun": 0.4}))
        assert read(reader, body("rain", "sun")).rows == 2
        with pytest.raises(RequestError, match="is 'fog'; allowed are 'rain', 'sun'") as caught:
            read(reader, body("rain", "fog"))
        assert (caught.value.code, caught.value.status, caught.value.row) == ("unknown_category", 422, 1)

    def test_null_is_refused_where_none_was_ever_missing(self, read):
        reader = reading(TEMPERATURE, **{"temp max": field(TEMPERATURE)})
        with pytest.raises(RequestError) as caught:
            read(reader, body(1, None))
        assert (caught.value.code, caught.value.row) == ("null_not_allowed", 1)

    def test_null_is_missing_where_some_were(self, read):
        reader = reading(
            TEMPERATURE, WEATHER,
            **{"temp max": field(TEMPERATURE, nulls=True, minimum=0.0)},
            weather=field(WEATHER, nulls=True, categories={"sun": 1.0}),
        )  # fmt: skip
        temperature, weather = read(reader, body({"temp max": None, "weather": None})).arrays
        assert math.isnan(temperature.elements()[0])
        assert weather.elements() == [""]

    def test_clipping_moves_a_value_to_the_nearest_limit(self, read):
        reader = reading(MATRIX, x=field(MATRIX, mode="clip", minimum=(0.0, 0.0, 0.0), maximum=5.0))
        batch = read(reader, body([-1, 3, 9], [0, 5, 5.5]))
        assert batch.arrays[0].rows() == [[0, 3, 5], [0, 5, 5]]
        assert batch.warnings == []

    def test_a_warning_lets_the_value_through_and_says_so(self, read):
        reader = reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, mode="warn", maximum=5.0)})
        batch = read(reader, body(4, 6.5))
        assert batch.arrays[0].elements() == [4, 6.5]
        assert batch.warnings == [
            {
                "field": "temp max",
                "row": 1,
                "code": "outside_range",
                "detail": "'temp max' of instance 1 is 6.5; the contract allows at most 5",
            }
        ]

    def test_there_are_never_more_warnings_than_fit_an_answer(self, read):
        reader = reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, mode="warn", maximum=5.0)})
        assert len(read(reader, body(*[6] * 500)).warnings) == 20

    def test_what_no_warning_is_left_for_is_not_put_into_words(self, read, monkeypatch):
        put = []
        monkeypatch.setattr(enforcement, "_beyond", lambda *_: put.append(1) or "is outside")
        monkeypatch.setattr(enforcement, "shown", lambda _: put.append(1) or "fog")
        for reader, value in (
            (reading(TEMPERATURE, **{"temp max": field(TEMPERATURE, mode="warn", maximum=5.0)}), 6),
            (reading(WEATHER, weather=field(WEATHER, mode="warn", categories={"sun": 1.0})), "fog"),
        ):
            assert len(read(reader, body(*[value] * 500)).warnings) == 20
        assert len(put) == 40


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (r'{"a": "\ud83d"}', True),
        (rb'{"a": "\uDE00 \ud83d\ude00"}', True),
        (r'{"a": "\ud83d\ude00", "b": ', False),
        (r'{"a": "\ud83d', False),
        ('{"a": ', False),
        ('{"a": ,}', False),
    ],
)
def test_half_of_a_surrogate_pair_is_called_so(text: str | bytes, half: bool) -> None:
    with pytest.raises(RequestError) as found:
        read_json(text, example="Send JSON.")
    assert ("surrogate pair" in found.value.message) == half
    assert found.value.message.startswith("the body is not valid JSON: ")
