"""The registry as it should seem to everybody: one model in a few tuples, one change after the other, no store.

Two tests hold the real one against it: a state machine, verb by verb, and the check of concurrent histories, which
looks for an order of the calls in which this gives every answer that was given.
"""

import bisect
from dataclasses import dataclass, replace
from typing import Any

Answer = tuple[Any, ...]
"""``("refused", code)``, or the name of what came back and its values."""


@dataclass(frozen=True)
class Change:
    """One revision of the deployment."""

    kind: str
    asked: int | None
    operation: str
    at: str
    by: str
    champion: int
    challenger: int | None = None
    mode: str = "live"
    split: float = 0
    steps: int = 0
    shares: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, order=True)
class Line:
    """One line of the ledger; lines are in the order of their times."""

    at: str
    operation: str
    kind: str
    version: int | None = None
    revision: int | None = None


def time_of(answer: Answer) -> str:
    """The time that the registry chose for what it answers; "" where it chose none."""
    place = {"registered": 3, "live": 6, "notes": 3}.get(answer[0])
    return "" if place is None else str(answer[place])


@dataclass(frozen=True)
class Plain:
    """Everything about one model.

    Args:
        contents: What each version was made of; the first is version 1.
        made: When, and by whom.
        changes: The deployment's revisions; the first is revision 1.
        ledger: Its lines.
        noted: Text, time and author of each revision of the notes.
    """

    contents: tuple[str, ...] = ()
    made: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    ledger: tuple[Line, ...] = ()
    noted: tuple[tuple[str, str, str], ...] = ()

    # -- verbs: each gives the state after it and the answer; `at` is the time that the registry chose, see `time_of` --

    def register(
        self, content: str, *, operation: str, at: str, by: str, number: int | None = None
    ) -> tuple["Plain", Answer]:
        known = content in self.contents
        found = self.contents.index(content) + 1 if known else len(self.contents) + 1
        if number is not None and number != found:
            return self, ("refused", "version_exists" if number < found else "version_gap")
        if known:
            return self, ("registered", found, False, *self.made[found - 1])
        after = replace(self, contents=(*self.contents, content), made=(*self.made, (at, by)))
        return after._told(Line(at, operation, "registered", found)), ("registered", found, True, at, by)

    def promote(self, version: int, **given: Any) -> tuple["Plain", Answer]:
        return self._change("promoted", version, **given)

    def rollback(self, to: int | None = None, **given: Any) -> tuple["Plain", Answer]:
        return self._change("rolled_back", to, **given)

    def start_shadow(self, version: int, **given: Any) -> tuple["Plain", Answer]:
        return self._change("shadow_started", version, **given)

    def start_canary(self, version: int, *, split: int, **given: Any) -> tuple["Plain", Answer]:
        return self._change("canary_started", version, split=split, **given)

    def start_split(self, shares: dict[int, float], **given: Any) -> tuple["Plain", Answer]:
        return self._change("split_started", None, shares=tuple(sorted(shares.items())), **given)

    def end_trial(self, **given: Any) -> tuple["Plain", Answer]:
        return self._change("trial_ended", None, **given)

    def write_notes(
        self, text: str, *, operation: str, at: str, by: str, expected_revision: int | None = None
    ) -> tuple["Plain", Answer]:
        if not self.contents:
            return self, ("refused", "not_found")
        if text == (self.noted[-1][0] if self.noted else ""):
            return self, self.notes() if self.noted else ("notes", 0, "", at, by)
        if expected_revision not in (None, len(self.noted)):
            return self, ("refused", "revision_changed")
        after = replace(self, noted=(*self.noted, (text, at, by)))
        return after._told(Line(at, operation, "noted")), after.notes()

    # -- questions ---------------------------------------------------------------------------------------------------

    def revision(self) -> int:
        return len(self.changes)

    def deployment(self) -> Answer:
        return self._deployed(self.changes[-1]) if self.changes else ("nothing",)

    def deployment_at(self, when: str) -> Answer:
        place = bisect.bisect_right([change.at for change in self.changes], when)
        return self._deployed(self.changes[place - 1]) if place else ("nothing",)

    def model(self) -> Answer:
        return ("model", len(self.contents)) if self.contents else ("refused", "not_found")

    def version(self, number: int) -> Answer:
        known = number <= len(self.contents)
        return ("version", self.contents[number - 1]) if known else ("refused", "not_found")

    def versions(self) -> Answer:
        return ("versions", *reversed(self.contents)) if self.contents else ("refused", "not_found")

    def history(self) -> Answer:
        return ("history", *reversed(self.ledger)) if self.ledger else ("refused", "not_found")

    def notes(self) -> Answer:
        return ("notes", len(self.noted), *self.noted[-1]) if self.noted else ("nothing",)

    def predecessors(self) -> list[int]:
        """The champions that a rollback can go back to, nearest first: what is left of a stack."""
        stack: list[int] = []
        for change in self.changes:
            if change.kind == "promoted":
                stack.append(change.champion)
            elif change.kind == "rolled_back":
                del stack[len(stack) - change.steps :]
        return stack[-2::-1]

    # -- how --------------------------------------------------------------------------------------------------------

    def _change(
        self,
        kind: str,
        asked: int | None,
        *,
        operation: str,
        at: str,
        by: str,
        expected_revision: int | None = None,
        split: int = 0,
        shares: tuple[tuple[int, float], ...] = (),
    ) -> tuple["Plain", Answer]:
        for done in self.changes:
            if done.operation == operation:
                about = (done.kind, done.asked, done.split if kind == "canary_started" else 0)
                same = about == (kind, asked, split) and (kind != "split_started" or done.shares == shares)
                return self, self._deployed(done) if same else ("refused", "operation_reused")
        named = [version for version in (asked, *dict(shares)) if version is not None]
        if not self.contents or any(version > len(self.contents) for version in named):
            return self, ("refused", "not_found")
        if expected_revision not in (None, self.revision()):
            return self, ("refused", "revision_changed")
        code, parts = self._decide(kind, asked, split, shares)
        if code is not None:
            return self, ("refused", code)
        change = Change(kind, asked, operation, at, by, **parts)
        about = change.challenger or change.champion
        if kind == "trial_ended":
            about = self.changes[-1].challenger or 0
        after = replace(self, changes=(*self.changes, change))
        return after._told(Line(at, operation, kind, about, after.revision())), self._deployed(change, after.revision())

    def _decide(
        self, kind: str, asked: int | None, split: float, shares: tuple[tuple[int, float], ...]
    ) -> tuple[str | None, dict[str, Any]]:
        live = self.changes[-1] if self.changes else None
        if live is None and kind != "promoted":
            return {"rolled_back": "no_predecessor", "trial_ended": "no_trial"}.get(kind, "no_champion"), {}
        if live is not None and asked is not None and live.champion == asked:
            return "already_live", {}
        if kind == "promoted":
            return None, {"champion": asked}
        assert live is not None
        match kind:
            case "rolled_back":
                before = self.predecessors()
                if asked is not None and asked not in before:
                    return "not_a_predecessor", {}
                if not before:
                    return "no_predecessor", {}
                steps = 1 if asked is None else before.index(asked) + 1
                return None, {"champion": before[steps - 1], "steps": steps}
            case "trial_ended":
                return ("no_trial", {}) if live.challenger is None else (None, {"champion": live.champion})
        mode = "shadow" if kind == "shadow_started" else "canary"
        shares = shares or ((asked or 0, split),)
        if live.champion in dict(shares):
            return "already_live", {}
        if (live.mode, live.shares) == (mode, shares):
            return "already_on_trial", {}
        first, split = shares[0]
        return None, {"champion": live.champion, "challenger": first, "mode": mode, "split": split, "shares": shares}

    def _deployed(self, change: Change, revision: int | None = None) -> Answer:
        number = self.changes.index(change) + 1 if revision is None else revision
        return ("live", number, change.champion, change.challenger, change.mode, change.split, change.at, change.by)

    def _told(self, line: Line) -> "Plain":
        place = bisect.bisect(self.ledger, line)
        return replace(self, ledger=(*self.ledger[:place], line, *self.ledger[place:]))
