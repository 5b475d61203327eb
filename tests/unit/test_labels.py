"""What a label is, and which labels an answer can be compared with."""

from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.labels import MOST_ROWS, Expected, Label, class_name, read_label, repeated
from modelyard.predictor.signature import Tensor
from modelyard.rollout.observations import MOST_ROWS_OF_A_REQUEST

ID = "0" * 32


def classifier(*classes: str) -> list[Tensor]:
    return [Tensor("label", "string", (None,)), Tensor("probabilities", "float32", (None, len(classes)), classes)]


def test_a_label_is_read_as_it_was_sent() -> None:
    assert read_label({"prediction_id": ID, "label": True, "row": 3}) == Label(ID, True, 3)
    assert type(read_label({"prediction_id": ID, "label": 3}).label) is int
    assert type(read_label({"prediction_id": ID, "label": 3.0}).label) is float


def test_text_that_no_reader_could_decode_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid Unicode"):
        read_label({"prediction_id": ID, "label": "\udcff"})


def test_of_two_labels_of_a_row_the_first_two_places_are_told() -> None:
    labels = [Label(ID, 1), Label(ID, 1, 1), Label("1" * 32, 1), Label(ID, 2, 1)]
    assert repeated(labels) == (1, 3)
    assert repeated(labels[:3]) is None


def test_rows_end_where_the_verdict_stops_to_read() -> None:
    assert MOST_ROWS == MOST_ROWS_OF_A_REQUEST


@pytest.mark.parametrize(
    ("value", "name"), [(True, "true"), (1, "1"), (1.0, "1"), (1.5, "1.5"), ("1.0", "1.0"), (2.0**60, str(2.0**60))]
)
def test_a_class_is_compared_by_its_name(value: Any, name: str) -> None:
    assert class_name(value) == name


@pytest.mark.parametrize(
    ("classes", "known", "new", "refused"),
    [
        (("rain", "sun"), ["rain", "sun"], ["fog", "3", "Rain"], [3, 0.5, True]),
        (("0", "1", "2"), [0, 1.0, "2"], [7, -1, 0.5, "7", "1.0"], ["many", True]),
        (("false", "true"), [True, False, "true"], ["yes"], [1, 0.0]),
        (("1", "2", "more"), [1, "more"], [3, "less"], [True]),
        (("inf", "nan"), ["nan"], ["x"], [1]),
    ],
)
def test_a_class_is_known_or_new_or_of_another_kind(
    classes: tuple[str, ...], known: list[Any], new: list[Any], refused: list[Any]
) -> None:
    expected = Expected(classifier(*classes))
    assert [value for value in (*known, *new) if expected.problem(value)] == []
    assert [value for value in known if not expected.knows(value)] == []
    assert [value for value in new if expected.knows(value)] == []
    for value in refused:
        assert classes[0] in str(expected.problem(value))


def test_classes_of_a_version_on_trial_are_known_as_well() -> None:
    expected = Expected(classifier("rain", "sun"), [classifier("rain", "fog")])
    assert expected.classes == ["rain", "sun", "fog"]
    assert expected.knows("fog")


@pytest.mark.parametrize(
    ("outputs", "taken", "refused"),
    [
        ([Tensor("y", "float32", (None, 1))], [1, 1.5], ["1", "x", True]),
        ([Tensor("y", "int64", (None,))], [3], ["3"]),
        ([Tensor("y", "string", (None,))], ["x", 3, True], []),
        ([Tensor("y", "float32", (None, 4))], ["x", 3, True], []),
        ([Tensor("a", "float32", (None, 1)), Tensor("b", "float32", (None, 1))], ["x", 3], []),
    ],
)
def test_a_model_of_one_number_takes_numbers_and_others_anything(
    outputs: list[Tensor], taken: list[Any], refused: list[Any]
) -> None:
    expected = Expected(outputs)
    assert [value for value in taken if expected.problem(value)] == []
    assert [value for value in refused if not expected.problem(value)] == []
