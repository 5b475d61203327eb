"""A version's model card: what the registry knows about it, in plain words for people who are not engineers.

::

    registry ─ facts ─► Facts ─ content ─► Card ─┬─ markdown ─► text
               (reads)          (decides         └─ page ─────► one HTML file (picture: its SVG)
                                 what is said)

The rule: nothing is invented. What the version does not know is "not recorded", a number is explained by what it
counts, and what was measured on other rows is not compared as if it were on the same. The owner's notes stand beside,
under their own heading. Everything here runs in Lambda too; only notes as HTML ask for markdown-it-py, and are shown as
they were written where it is missing.
"""

from modelyard.card.content import Card, card_of
from modelyard.card.facts import Facts, gather
from modelyard.card.markdown import to_markdown
from modelyard.card.page import to_html

__all__ = ["Card", "Facts", "card_of", "gather", "to_html", "to_markdown"]
