"""The champion's classes one by one: whether the challenger still answers them where the champion does.

Agreement over all rows says little about a class that few rows have: a challenger that never answers one of ten
classes agrees in nine rows of ten.
"""

from collections.abc import Iterator

import numpy as np

from modelyard.rollout.checks.agreement import agreement_in, disagreements
from modelyard.rollout.checks.look import Look, of_requests
from modelyard.rollout.judging import Question

COLUMN = "the champion's answer"


def classes(look: Look) -> Iterator[Question]:
    """Rows that the champion answered with one class, and the challenger with another."""
    champion, frozen, least = look.observations.pairs.champion, look.frozen, look.policy.class_agreement
    if champion is None or frozen is None or least is None or frozen.form not in ("label", "classes"):
        return
    differ = disagreements(look)
    if differ is None:
        return
    for name in frozen.classes:
        key = look.observations.names.get(name)
        if key is not None:
            shares = of_requests(np.where(champion.key == key, differ, np.nan), look.observations.pairs)
            if len(shares):
                wrong = look.share("classes") / len(frozen.classes)
                yield agreement_in(look, shares, least, COLUMN, name, check="classes", wrong=wrong)
