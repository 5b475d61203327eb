"""The contract of what is trained: from the rows of the training files.

All rows count, those held out too: a version was measured on them, and another share of held-out rows in the plan must
not change what callers may send. To a contract a date is free text, as text is, because every new day is a new
value; a category has its categories however few rows there are, because the plan says that it is one.
"""

from collections.abc import Mapping

from modelyard.contract.checking import check, show_value
from modelyard.contract.document import Contract
from modelyard.contract.inference import Texts, infer
from modelyard.training.plan import FeatureKind, Plan
from modelyard.training.table import Table, columns_of_file
from modelyard.version import Dtype, TensorSpec

_DTYPES: dict[FeatureKind, Dtype] = {"number": "float32", "category": "string", "date": "string", "text": "string"}
_TEXTS: Mapping[FeatureKind, Texts] = {"category": "categories", "date": "free", "text": "free"}


def contract_of(plan: Plan, table: Table) -> Contract:
    """What a version that learns from ``table`` promises to answer.

    Raises:
        UsageError: With code ``invalid_contract`` when the limits in the plan do not go with the data.
    """
    kinds = {name: feature.kind for name, feature in plan.training.features.items()}
    return infer(
        table.columns,
        [TensorSpec(name, _DTYPES[kind], (None, 1)) for name, kind in kinds.items()],
        plan.contract,
        texts={name: _TEXTS[kind] for name, kind in kinds.items() if kind in _TEXTS},
    )


def remarks_on_upload(plan: Plan, contract: Contract, file: bytes, *, name: str) -> list[str]:
    """What in a file without findings the live version would not answer as it should, in words.

    Remarks and no findings: data that has changed is what retraining is for. A column in another unit, or two that
    changed places, show here too, and a person reads it beside the run's outcome.
    """
    columns, lines = columns_of_file(plan, file, name=name)
    features = plan.training.features
    known = {
        field: found
        for field, found in contract.fields.items()
        if field in features and found.dtype == _DTYPES[features[field].kind]
    }
    kept = Contract(rows=contract.rows, fields=known)
    return [
        f"{name}: column {found.field!r} is {show_value(found.value)} on line {lines[found.row]}"
        f"{f' and differs on {found.rows - 1:,} more' if found.rows > 1 else ''}; of the live version, {found.allowed}"
        for found in check(kept, columns)
        if found.row is not None and found.problem != "null_not_allowed"
    ]
