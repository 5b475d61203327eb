"""Text that looks like a secret, so that a configuration file which holds one is refused before it is committed.

The rule: only what has a form of its own is recognised, because a refusal has no way round. The text itself is never
part of a message.
"""

import re
from collections.abc import Callable

_LEAST_DIFFERENT = 24
"""Different characters in 40 random ones of 64: 30 on average, fewer than 24 once in 200. A path has fewer."""


def _is_random(text: str) -> bool:
    kinds = (str.isupper, str.islower, str.isdigit)
    return len(set(text)) >= _LEAST_DIFFERENT and all(any(map(kind, text)) for kind in kinds)


def _always(_: str) -> bool:
    return True


_FORMS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("an AWS access key id", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _always),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), _always),
    ("a GitHub token", re.compile(r"\b(?:gh[oprsu]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})"), _always),
    ("a Slack token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"), _always),
    ("an address with a password", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@]+@", re.IGNORECASE), _always),
    ("an AWS secret access key", re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"), _is_random),
)


def looks_like_secret(text: str) -> str | None:
    """What kind of secret ``text`` seems to hold; None when it holds none."""
    for kind, form, holds in _FORMS:
        if any(holds(match.group()) for match in form.finditer(text)):
            return kind
    return None
