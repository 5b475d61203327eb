"""Real data for the trainer's benchmark, all of it inside packages: nothing is downloaded.

Each task is a CSV file, the plan of a model without candidates, and how its rows are divided: at random, or, where rows
follow each other in time, so that the later ones are answered.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

PROJECT = Path(__file__).parents[2]
FIFTHS = 5


@dataclass
class Task:
    """One data set and what is asked of it.

    Attributes:
        name: Of the data set.
        kind: regression, binary or multiclass.
        metric: What decides, and what is reported.
        target: The column to predict.
        features: Kind by column.
        rows: A header and rows of text.
        by_time: Whether rows follow each other.
    """

    name: str
    kind: str
    metric: str
    target: str
    features: dict[str, str]
    rows: list[list[str]]
    by_time: bool = False

    def csv(self, rows: Sequence[int]) -> bytes:
        """Some of the rows as a file."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.rows[0])
        writer.writerows(self.rows[1 + row] for row in rows)
        return text.getvalue().encode()

    def column(self, name: str) -> list[str]:
        """One column as text."""
        at = self.rows[0].index(name)
        return [row[at] for row in self.rows[1:]]

    def plan(self, timeout_s: int) -> dict[str, Any]:
        """A plan that names no candidates."""
        return {
            "model": self.name,
            "task": self.kind,
            "training": {
                "target": self.target,
                "features": {name: {"kind": kind} for name, kind in self.features.items()},
                "timeout_s": timeout_s,
            },
            "evaluation": {"metric": self.metric},
        }


def _of(name: str, kind: str, metric: str, target: str, columns: dict[str, Any], **more: Any) -> Task:
    features = {
        column: "number" if np.issubdtype(np.asarray(values).dtype, np.number) else "category"
        for column, values in columns.items()
        if column != target
    }
    cells = [[str(cell) for cell in np.asarray(values).tolist()] for values in columns.values()]
    return Task(name, kind, metric, target, features, [list(columns), *map(list, zip(*cells, strict=True))], **more)


def _of_scikit_learn(name: str, kind: str, metric: str, bunch: Any, target: Any) -> Task:
    names = [str(column) for column in getattr(bunch, "feature_names", range(bunch.data.shape[1]))]
    return _of(name, kind, metric, "target", dict(zip(names, bunch.data.T, strict=True)) | {"target": target})


def weather() -> Task:
    """Seattle's weather of four years: our own example."""
    files = sorted((PROJECT / "models" / "seattle_weather").glob("*/20*.csv"))
    tables = [list(csv.reader(io.StringIO(file.read_text("utf-8")))) for file in files]
    rows = [tables[0][0], *(row for table in tables for row in table[1:])]
    features = {"date": "date"} | dict.fromkeys(("precipitation", "temp_max", "temp_min", "wind"), "number")
    return Task("seattle_weather", "multiclass", "log_loss", "weather", features, rows)


def breast_cancer() -> Task:
    """Is a tumour benign? Thirty measures of cells."""
    bunch = datasets.load_breast_cancer()
    return _of_scikit_learn("breast_cancer", "binary", "log_loss", bunch, bunch.target_names[bunch.target])


def wine() -> Task:
    """Which of three growers? Thirteen measures of a wine."""
    bunch = datasets.load_wine()
    return _of_scikit_learn("wine", "multiclass", "balanced_accuracy", bunch, bunch.target_names[bunch.target])


def digits() -> Task:
    """Which digit? Eight by eight greys."""
    bunch = datasets.load_digits()
    return _of_scikit_learn("digits", "multiclass", "accuracy", bunch, np.char.mod("digit %d", bunch.target))


def diabetes() -> Task:
    """How far has a disease come after a year?"""
    bunch = datasets.load_diabetes()
    return _of_scikit_learn("diabetes", "regression", "rmse", bunch, bunch.target)


def fair() -> Task:
    """Has a married woman had an affair? A survey of 1974, from statsmodels."""
    import statsmodels.api as sm

    table = sm.datasets.fair.load_pandas().data
    columns = {name: table[name].to_numpy() for name in table.columns if name != "affairs"}
    for name in ("occupation", "occupation_husb"):
        columns[name] = np.char.mod("group %d", columns[name].astype(int))
    columns["affair"] = np.where(table["affairs"].to_numpy() > 0, "yes", "no")
    return _of("fair", "binary", "log_loss", "affair", columns)


def anes96() -> Task:
    """Clinton or Dole? A survey of 1996, from statsmodels."""
    import statsmodels.api as sm

    table = sm.datasets.anes96.load_pandas().data
    names = ("popul", "TVnews", "selfLR", "ClinLR", "DoleLR", "age", "educ", "income")
    columns = {name: table[name].to_numpy() for name in names}
    columns["vote"] = np.where(table["vote"].to_numpy() > 0, "Dole", "Clinton")
    return _of("anes96", "binary", "log_loss", "vote", columns)


def _lagged(name: str, series: Any, lags: Sequence[int], places: dict[str, Any]) -> Task:
    """The next value of a series from values before it."""
    first = max(lags)
    columns = {f"lag_{lag}": series[first - lag : len(series) - lag].round(4) for lag in lags}
    columns |= {place: values[first:] for place, values in places.items()}
    return _of(name, "regression", "rmse", "value", columns | {"value": series[first:].round(4)}, by_time=True)


def sunspots() -> Task:
    """The sunspots of a year from those of the years before, from statsmodels."""
    import statsmodels.api as sm

    table = sm.datasets.sunspots.load_pandas().data
    return _lagged("sunspots", table["SUNACTIVITY"].to_numpy(), (1, 2, 3, 9, 10, 11), {})


def co2() -> Task:
    """How much CO2 over Mauna Loa rises in a week, from the weeks before, from statsmodels."""
    import statsmodels.api as sm

    table = sm.datasets.co2.load_pandas().data["co2"].interpolate()
    rise = np.diff(table.to_numpy())
    week = table.index.isocalendar().week.to_numpy().astype(float)[1:]
    places = {"sine": np.sin(2 * np.pi * week / 52).round(6), "cosine": np.cos(2 * np.pi * week / 52).round(6)}
    return _lagged("co2", rise, (1, 2, 3, 4, 51, 52, 53), places)


TASKS: dict[str, Callable[[], Task]] = {
    task.__name__: task for task in (weather, breast_cancer, wine, diabetes, fair, anes96, sunspots, co2, digits)
}


def divisions(task: Task, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Rows to train on and rows to be answered: fifths at random, or the next tenth of what follows in time.

    Of more than five, each five are another way to cut the rows into fifths.
    """
    from sklearn.model_selection import KFold, RepeatedKFold, RepeatedStratifiedKFold, StratifiedKFold, TimeSeriesSplit

    target = task.column(task.target)
    if task.by_time:
        splits = list(TimeSeriesSplit(9).split(target))[-min(count, 5) :]
    elif count > FIFTHS:
        repeated = RepeatedKFold if task.kind == "regression" else RepeatedStratifiedKFold
        splits = list(repeated(n_splits=FIFTHS, n_repeats=-(-count // FIFTHS), random_state=7).split(target, target))
    elif task.kind == "regression":
        splits = list(KFold(FIFTHS, shuffle=True, random_state=7).split(target))[:count]
    else:
        splits = list(StratifiedKFold(FIFTHS, shuffle=True, random_state=7).split(target, target))[:count]
    for train, test in splits:
        yield train.tolist(), test.tolist()
