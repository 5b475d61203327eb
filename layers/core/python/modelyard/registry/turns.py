"""Whose turn it is to train, as the registry keeps it: one item for each model.

    read ──► decide (pure, modelyard.retraining.turns) ──► one transaction: compare-and-set on the revision, and the
    runs that end with it

A run that ended here is the memory of what it was told: asked again, it gets the same answer.
"""

from typing import cast

import msgspec

from modelyard.errors import AWSError
from modelyard.names import check_id, check_name, legible
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import Reader
from modelyard.registry.records import WEIGHT, Run, Status
from modelyard.retraining.turn_records import OVER, Asking, Outcome, RunEnd, Turn, TurnAnswer
from modelyard.retraining.turns import ask, release


class TurnKeeper(Reader):
    """The registry's verbs for the turn to train."""

    def turn(self, model: str) -> Turn:
        """Who trains and who waits."""
        return self._read(keys.partition(check_name(model)), keys.TURN, Turn) or Turn(model=model)

    def take_turn(self, model: str, asking: Asking) -> TurnAnswer:
        """Ask whether a run may train now; see ``modelyard.retraining.turns.ask``.

        Raises:
            AWSError: With code ``contended``, when others kept changing the turn until the deadline.
        """
        check_id(asking.run_id, field="run_id")
        for _ in self._attempts():
            before = self.turn(model)
            run = self._find_run(model, asking.run_id)  # after the turn: who was merged meanwhile is told so
            if run is not None and run.status in OVER:
                return TurnAnswer(status=cast("Outcome", run.status), reason=run.reason, into=run.into)
            decision = ask(before, asking, self._clock())
            if decision.turn is None or self._changed_turn(before, decision.turn, decision.ends):
                return decision.answer
        raise _contended(model)

    def release_turn(self, model: str, run_id: str, *, usd: float | None = None) -> Turn:
        """End a run's turn, or its waiting for one. When it neither trains nor waits, nothing changes.

        Args:
            model: The model's name.
            run_id: The run.
            usd: What it cost; None when that is not known, then the time that it took says.

        Returns:
            The turn after it.

        Raises:
            AWSError: With code ``contended``, when others kept changing the turn until the deadline.
        """
        check_id(run_id, field="run_id")
        for _ in self._attempts():
            before = self.turn(model)
            after, cost = release(before, run_id, usd, self._clock())
            if after is before or self._changed_turn(before, after, (), paid=None if cost is None else (run_id, cost)):
                return after
        raise _contended(model)

    def _changed_turn(
        self, before: Turn, after: Turn, ends: tuple[RunEnd, ...], *, paid: tuple[str, float] | None = None
    ) -> bool:
        """Whether the turn could be changed, with the runs that it is about; false when somebody else was first."""
        pk = keys.partition(after.model)
        turn = Put(
            keys.item(pk, keys.TURN, after),
            absent=before.revision == 0,
            equals={} if before.revision == 0 else {"revision": before.revision},
        )
        runs = [put for end in ends if (put := self._ended(after.model, end)) is not None]
        if paid is not None:
            run = self._find_run(after.model, paid[0])
            if run is not None:
                with_usd = msgspec.structs.replace(run, usd=paid[1])
                runs.append(Put(keys.item(pk, keys.RUN + run.run_id, with_usd), equals={"status": run.status}))
        try:
            self.records.transact([turn, *runs])
        except ConditionFailedError:
            return False
        return True

    def _ended(self, model: str, end: RunEnd) -> Put | None:
        """What records the end of a run; None when it had ended."""
        run, now = self._find_run(model, end.run_id), self._now()
        status = cast("Status", end.status)
        if run is not None and WEIGHT[status] <= WEIGHT[run.status]:
            return None
        old = run or Run(model=model, run_id=end.run_id, status=status, started_at=now)
        ended = msgspec.structs.replace(old, status=status, reason=legible(end.reason), ended_at=now, into=end.into)
        item = keys.item(keys.partition(model), keys.RUN + end.run_id, ended)
        return Put(item, absent=True) if run is None else Put(item, equals={"status": run.status})


def _contended(model: str) -> AWSError:
    # No conflict: in the workflow that means that something else is live now, and to compare again.
    return AWSError(
        f"the turn of model {model!r} is being written by others without a pause",
        code="contended",
        next_step="Try again; repeating it is safe.",
    )
