"""Text as words: the same cut, the same counts and the same weights in Python and in the ONNX graph."""

import re
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from modelyard.training.export import to_onnx
from modelyard.training.pipeline import build, fit
from modelyard.training.text import NEVER, Words, words_of
from tests.fakes.training_data import docstrings, plan, whole

KINDS = ("logistic_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")
ODD = [
    "",
    " ",
    "...!?",
    "\u00a0\t\n",
    "Array array ARRAY aRRay",
    "the-array's “shape”—a tuple… (of ints)",
    "Straße STRASSE straße Ünïcode 東京 naïve naïve",
    "x" * 5_000,
    "a " * 3_000,
    "\u0000return\u0007the\ufffdarray\U0001f600of",
    "return\u2028the\u3000array\uff0cof",
    "İstanbul ıßſ ΑΒΓς Ⅳ ² ½",
]


def column(texts: list[str]) -> Any:
    return np.array([[text] for text in texts], dtype=object)


def fitted(kind: str) -> tuple[Any, Any, Any]:
    spec = plan(target="library", features={"said": "text"}, task="binary", kinds=[kind])
    table = whole(spec, docstrings())
    settings = {name: values[0] for name, values in spec.training.candidates[0].grid.items()}
    return spec, fit(build(spec, kind, settings), table.matrix(), table.target), table.matrix()


@pytest.mark.parametrize("kind", KINDS)
def test_real_and_odd_texts_are_answered_the_same_by_the_onnx_file(kind: str) -> None:
    spec, pipeline, matrix = fitted(kind)
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    for texts in (matrix, column(ODD), *(column([text]) for text in ODD)):
        answered = session.run(["probabilities"], {"said": texts})[0]
        assert np.abs(answered - pipeline.predict_proba(texts)).max() < 2e-6


def test_what_trees_see_is_equal_to_the_bit() -> None:
    spec, pipeline, matrix = fitted("random_forest")
    expected = pipeline[:-1].transform(np.vstack([matrix, column(ODD)]))
    assert expected.max() >= 2
    assert np.array_equal(expected, np.rint(expected)), "whole numbers"
    assert spec.of_kind("text") == [0]


def test_words_tell_the_libraries_apart() -> None:
    _, pipeline, matrix = fitted("logistic_regression")
    spec = plan(target="library", features={"said": "text"}, task="binary")
    target = whole(spec, docstrings()).target
    assert np.mean(pipeline.predict(matrix) == target) > 0.9 > 0.8 > np.mean(target == "numpy")


def test_the_onnx_graph_cuts_text_where_python_does_at_every_code_point() -> None:
    texts = [f"a{chr(point)}b" for point in range(sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF]
    texts = [*texts[:0x3100], *texts[0xA000:0xA100], *texts[0xF900:0x10100], *texts[0x1F600:0x1F680]]
    spec = plan(target="y", features={"said": "text"}, task="binary")
    taught = column(["a b", "a b", "c", "c"])
    pipeline = fit(build(spec, "logistic_regression", {}), taught, np.array(["x", "x", "y", "y"], dtype=object))
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    answered = session.run(["probabilities"], {"said": column(texts)})[0]
    assert np.abs(answered - pipeline.predict_proba(column(texts))).max() < 1e-6
    assert 100 < sum(len(words_of(text)) == 2 for text in texts) < 600


def test_weights_are_scikit_learns_tf_idf() -> None:
    spec = plan(target="library", features={"said": "text"}, task="binary")
    texts = whole(spec, docstrings()).matrix()
    ours = Words(size=10_000, weighed=True).fit(texts)
    known = sorted({name.lower() for name in ours.spellings_})
    theirs = TfidfVectorizer(tokenizer=words_of, token_pattern=None, vocabulary=known)
    lowered = [text.lower() for text in texts.ravel()]
    assert np.abs(ours.transform(texts) - theirs.fit_transform(lowered).toarray()).max() < 1e-6


def test_the_vocabulary_is_bounded_by_the_most_frequent_words() -> None:
    words = Words(size=2).fit(column(["blue red", "blue red", "blue green", "green once"]))
    assert sorted(words.spellings_) == ["BLUE", "Blue", "GREEN", "Green", "blue", "green"]
    assert words.width_ == 2


def test_a_word_of_one_row_is_not_known_and_texts_without_known_words_are_all_zero() -> None:
    words = Words(weighed=True).fit(column(["one", "two", "three three"]))
    assert words.spellings_ == {NEVER: 0, NEVER.upper(): 0}
    assert words.transform(column(["one", "three", ""])).tolist() == [[0.0]] * 3


def test_a_spelling_that_training_has_seen_counts_as_its_word() -> None:
    words = Words().fit(column(["McDonald", "mcdonald", "MCDONALD"]))
    counts = words.transform(column(["McDonald mcdonald Mcdonald MCDONALD", "mCDonald"]))
    assert counts.tolist() == [[4.0], [0.0]]


def test_the_expression_of_the_graph_is_the_one_of_python() -> None:
    from modelyard.training import text

    assert text.RE2_WORD.startswith("[^\\x{0}-\\x{2f}")
    assert re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: re.escape(chr(int(m[1], 16))), text.RE2_WORD) == text._WORD.pattern
