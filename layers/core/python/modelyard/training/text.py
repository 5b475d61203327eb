r"""Text as the model sees it: how often each known word stands in it.

The rule: both sides do the same three things. Text is cut into words by one regular expression that Python's `re` and
RE2 (ONNX's Tokenizer) read alike; a word counts when its spelling is in a table; counts are whole numbers. So what
trees compare is equal to the bit, and only the weighing for linear models and networks is arithmetic.

The expression names code points and no Unicode classes: `\w` of RE2 is ASCII, and the tables behind ``\p{L}`` differ
from one version of Unicode to the next. Upper and lower case come from the table as well, which holds the usual
spellings of each word and those that training has seen: ONNX's StringNormalizer lowers letters by a locale that a
container may not have.
"""

import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

BETWEEN_WORDS = (
    (0x00, 0x2F),  # control characters, blank, ! " # $ % & ' ( ) * + , - . /
    (0x3A, 0x40),  # : ; < = > ? @
    (0x5B, 0x60),  # [ \ ] ^ _ `
    (0x7B, 0xA9),  # { | } ~, C1 controls, no-break space, signs up to ©
    (0xAB, 0xB4),  # « to the acute accent; not ª
    (0xB6, 0xB9),  # not µ
    (0xBB, 0xBF),  # not º
    (0x2000, 0x206F),  # general punctuation: dashes, curly quotes, ellipsis
    (0x3000, 0x303F),  # punctuation of Chinese, Japanese and Korean
    (0xFF00, 0xFF0F),  # and its wide forms
)
"""Code points that separate words; every other is part of one."""

RE2_WORD = "[^" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in BETWEEN_WORDS) + "]+"
_WORD = re.compile(
    "[^" + "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in BETWEEN_WORDS) + "]+"
)

LEAST_ROWS = 2
"""Rows that a word must occur in: one that occurs once tells rows apart, not classes."""
NEVER = " "
"""The only entry of a table without words: no word holds a blank."""
LEAST_LENGTH = 1e-12
"""Below this a row has no known word and stays all zero."""


def words_of(text: str) -> list[str]:
    """The words of a text, as they are spelt."""
    return _WORD.findall(text)


class Words(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """One column of text to one column for each of the most frequent words.

    Args:
        size: Most words that are known.
        weighed: False: how often each word occurs, for trees. True: that number times the logarithm of how rare the
            word is, each row scaled to length 1 (TF-IDF; Spärck Jones, "A statistical interpretation of term
            specificity", Journal of Documentation 28, 1972, smoothed as in scikit-learn).
    """

    def __init__(self, size: int = 1000, weighed: bool = False) -> None:
        self.size = size
        self.weighed = weighed

    def fit(self, texts: NDArray[Any], target: object = None) -> "Words":  # noqa: ARG002 - scikit-learn's form
        """Learn which words there are, how they are spelt and how rare they are."""
        rows = [words_of(text) for text in texts.ravel().tolist()]
        occurs = Counter(word for row in rows for word in {spelling.lower() for spelling in row})
        known = sorted((word for word, count in occurs.items() if count >= LEAST_ROWS), key=lambda w: (-occurs[w], w))
        known = sorted(known[: self.size]) or [NEVER]
        column = {word: at for at, word in enumerate(known)}
        spellings = {form: at for word, at in column.items() for form in (word, word.capitalize(), word.upper())}
        for spelling in {spelling for row in rows for spelling in row}:
            if spelling.lower() in column:
                spellings[spelling] = column[spelling.lower()]
        self.spellings_ = dict(sorted(spellings.items(), key=lambda pair: (pair[1], pair[0])))
        self.width_ = len(known)
        rarity = np.log((1 + len(rows)) / (1 + np.array([occurs[word] for word in known]))) + 1
        self.weights_ = rarity.astype(np.float32)
        return self

    def transform(self, texts: NDArray[Any]) -> NDArray[np.float32]:
        """Count, and weigh where that was asked for."""
        counts = np.zeros((len(texts), self.width_), dtype=np.float32)
        for row, text in enumerate(texts.ravel().tolist()):
            for spelling in words_of(text):
                at = self.spellings_.get(spelling)
                if at is not None:
                    counts[row, at] += 1
        if not self.weighed:
            return counts
        counts *= self.weights_
        length = np.sqrt(np.sum(np.square(counts), axis=1, keepdims=True))
        counts /= np.maximum(length, np.float32(LEAST_LENGTH))
        return counts
