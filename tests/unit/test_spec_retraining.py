"""The tables of model.toml that retraining reads: what is accepted and refused, and what travels to the functions."""

import msgspec
import pytest

from modelyard.spec import load_model, parse_model, training_plan
from modelyard.spec_retraining import EvaluationSection, TrainingSection
from modelyard.spec_retraining import Trigger as SpecTrigger
from modelyard.training.plan import Range, decode_plan
from tests.fakes.specs import BROUGHT, EVERYTHING, TRAINED, changed, findings, folder, folder_findings


def test_the_defaults_of_spec_and_plan_are_the_same():
    """A workflow of an earlier deployment carries a plan without the keys that are new."""
    made = training_plan(parse_model(changed(TRAINED, '[[triggers]]\nprefix = "weather/"', ""), file="m"))
    whole = decode_plan(made)
    short = decode_plan(
        {
            "model": "weather",
            "task": "multiclass",
            "training": {
                "target": "sky",
                "features": {"wind": {"kind": "number"}},
                "candidates": [{"kind": "logistic_regression", "grid": {"C": [1.0]}}],
            },
            "evaluation": {"metric": "log_loss"},
            "contract": made["contract"],
            "about": made["about"],
            "triggers": [{"prefix": "weather/"}],
        }
    )
    assert msgspec.to_builtins(whole) == msgspec.to_builtins(short)


def test_a_plan_carries_every_key_of_retraining():
    """All but ``data``, which only says where the first files lie in the project."""
    plan = training_plan(parse_model(EVERYTHING, file="m"))
    assert set(plan["training"]) == set(TrainingSection.model_fields) - {"data"}
    assert set(plan["evaluation"]) == set(EvaluationSection.model_fields)
    assert set(plan["triggers"][0]) == set(SpecTrigger.model_fields)
    decoded = decode_plan(plan)
    assert [trigger.kind for trigger in decoded.triggers] == ["upload", "labels", "schedule", "alarm", "manual"]
    assert (decoded.triggers[0].prefix, decoded.triggers[1].prefix) == ("weather/", "weather/labels/")
    assert decoded.training.candidates[1].space == {"learning_rate": Range(0.01, 0.3, log=True)}
    assert decoded.columns == ("day", "wind", "sky", "station")
    assert msgspec.to_builtins(decoded.evaluation) == plan["evaluation"]


def test_files_are_training_data_where_a_trigger_waits_for_them_and_else_below_the_models_name():
    spec = parse_model(EVERYTHING, file="m")
    assert spec.upload_places == (("weather/", ".csv"), ("weather/labels/", ".csv"))
    scheduled = changed(TRAINED, 'prefix = "weather/"', 'kind = "schedule"\ncron = "0 3 ? * MON *"')
    assert parse_model(scheduled, file="m").upload_places == (("weather/", ".csv"),)
    assert parse_model(changed(TRAINED, '[[triggers]]\nprefix = "weather/"', ""), file="m").upload_places == (
        ("weather/", ".csv"),
    )
    assert parse_model(BROUGHT, file="m").upload_places == ()


def test_a_training_of_days_is_for_sagemaker():
    days = "timeout_s = 432000\ninstance = 'ml.m5.xlarge'"
    spec = parse_model(changed(TRAINED, "[training]", f"[training]\n{days}"), file="m")
    assert spec.training is not None
    assert spec.training.timeout_s == 432_000


@pytest.mark.parametrize(
    "cron", ["0 3 ? * MON *", "0/15 * * * ? *", "0 8 1 * ? 2027-2030", "0 3 ? * 2#1 *", "5 0 L * ? *"]
)
def test_a_schedule_has_awss_six_fields(cron):
    text = changed(TRAINED, 'prefix = "weather/"', f'kind = "schedule"\ncron = "{cron}"\ntimezone = "Europe/Berlin"')
    assert parse_model(text, file="m").triggers[0].cron == cron


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 3 * * MON", "is not minutes, hours, day of month, month, day of week, year"),
        ("0 3 ? * MON * *", "is not minutes, hours"),
        ("", "is not minutes, hours"),
        ("0 3 ? * MON; *", "is not minutes, hours"),
        ("rate(1 day)", "is not minutes, hours"),
        ("0 3 * * MON *", "needs '?' for the day of the month or for the day of the week, and not for both"),
        ("0 3 ? * ? *", "needs '?' for the day of the month or for the day of the week, and not for both"),
    ],
)
def test_a_schedule_that_aws_would_refuse_is_refused(cron, said):
    (finding,) = findings(changed(TRAINED, 'prefix = "weather/"', f'kind = "schedule"\ncron = "{cron}"'))
    assert finding.startswith("triggers[0].cron: ")
    assert said in finding


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "europe/berlin ", "+01:00"])
def test_a_time_zone_that_is_none_is_refused(zone):
    text = f'kind = "schedule"\ncron = "0 3 ? * MON *"\ntimezone = "{zone}"'
    (finding,) = findings(changed(TRAINED, 'prefix = "weather/"', text))
    assert finding.startswith(f"triggers[0].timezone: {zone!r} is no time zone")


@pytest.mark.parametrize("instance", ["m5.xlarge", "ml.m5", "ml.M5.xlarge", "", "ml.m5.xlarge "])
def test_an_instance_that_sagemaker_cannot_have_is_refused(instance):
    (finding,) = findings(changed(TRAINED, "[training]", f"[training]\ninstance = '{instance}'"))
    assert finding.startswith(f"training.instance: {instance!r} is not an instance type of SageMaker")


CANDIDATES_OF_TRAINED = 'candidates = [{ kind = "logistic_regression", grid = { C = [1.0] } }]'


OWN = changed(TRAINED, CANDIDATES_OF_TRAINED, 'entry = "weather_model.training:train"')


@pytest.mark.parametrize("entry", ["weather_model.training:train", "own:train", "train.ipynb", "notebooks/train.ipynb"])
def test_own_training_code_is_a_function_or_a_notebook(entry):
    spec = parse_model(changed(OWN, "weather_model.training:train", entry), file="m")
    assert spec.training is not None
    assert (spec.training.entry, spec.training.candidates) == (entry, [])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("train", "names no training code; write 'package.module:function'"),
        ("weather_model.training", "names no training code"),
        ("weather_model:", "names no training code"),
        ("weather-model:train", "names no training code"),
        ("train.py", "names no training code"),
        ("", "names no training code"),
        ("numpy.linalg:train", "is the name of a package that the endpoint imports itself"),
        ("../train.ipynb", "leaves the model's folder"),
        ("/train.ipynb", "leaves the model's folder"),
    ],
)
def test_what_names_no_training_code_is_refused(entry, said):
    (finding,) = findings(changed(OWN, "weather_model.training:train", entry))
    assert finding.startswith("training.entry: ")
    assert said in finding


def test_the_module_of_own_training_code_lies_below_python(tmp_path):
    path = folder(tmp_path, "weather", OWN)
    assert folder_findings(path) == [
        "models/weather/model.toml: training.entry: python/weather_model/training.py is missing from the model's folder"
    ]
    (path / "python" / "weather_model").mkdir(parents=True)
    (path / "python" / "weather_model" / "training.py").touch()
    model = load_model(path)
    assert (model.training_entry, model.notebook) == ("weather_model.training:train", None)
    assert model.code_folder is None, "the endpoint does not run it"


def test_a_training_notebook_lies_in_the_folder(tmp_path):
    path = folder(tmp_path, "weather", changed(OWN, "weather_model.training:train", "train.ipynb"))
    assert folder_findings(path) == [
        "models/weather/model.toml: training.entry: 'train.ipynb' is not a file in the model's folder"
    ]
    (path / "train.ipynb").touch()
    model = load_model(path)
    assert (model.training_entry, model.notebook, model.code_folder) == ("train.ipynb", "train.ipynb", None)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            changed(TRAINED, 'target = "sky"', 'target = "sky"\nentry = "own.training:train"'),
            "training.candidates: stand beside training.entry; a model is trained by candidates or by its own code",
        ),
        (
            changed(TRAINED, "[training]", "[training]\nwhere = 'sagemaker'"),
            "training.instance: is required where the model trains on SageMaker, such as 'ml.m5.xlarge'",
        ),
        (
            changed(TRAINED, "[training]", "[training]\nwhere = 'lambda'\ninstance = 'ml.m5.xlarge'"),
            "training.instance: stands beside where = 'lambda'; leave one of them out",
        ),
        (
            changed(TRAINED, "[training]", "[training]\ntimeout_s = 901"),
            "training.timeout_s: 901 is more than the 900 s that a Lambda function has; training.instance lets "
            "SageMaker train it",
        ),
        (
            changed(TRAINED, "[training]", "[training]\nwhere = 'lambda'\ntimeout_s = 901"),
            "training.timeout_s: 901 is more than the 900 s that a Lambda function has; training.instance lets "
            "SageMaker train it",
        ),
        (
            changed(TRAINED, "[training]", "[training]\nbudget_s = 601"),
            "training.budget_s: 601 is more than the deadline, timeout_s = 600",
        ),
        (
            changed(TRAINED, "grid = { C = [1.0] }", "space = { class_weigt = { low = 1, high = 2 } }"),
            "training.candidates[0].space.class_weigt: unknown setting; did you mean 'class_weight'?",
        ),
        (
            changed(TRAINED, "grid = { C = [1.0] }", "space = { C = { low = 2, high = 1 } }"),
            "training.candidates[0].space.C.low: 2 is not below high, 1",
        ),
        (
            changed(TRAINED, "grid = { C = [1.0] }", "space = { C = { low = 0, high = 1, log = true } }"),
            "training.candidates[0].space.C.low: 0 has no logarithm; with log, low is above 0",
        ),
        (
            changed(TRAINED, "[1.0] }", "[1.0] }, space = { C = { low = 1, high = 2 } }"),
            "training.candidates[0].space.C: stands in grid as well; a setting is tried from a list or drawn from a "
            "range",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "labels"'),
            "triggers[0].count: is required where kind is 'labels'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "schedule"'),
            "triggers[0].cron: is required where kind is 'schedule'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', "count = 5"),
            "triggers[0].count: is of kind 'labels', not of 'upload'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "manual"\nsuffix = ".csv"'),
            "triggers[0].suffix: is of kind 'upload' or 'labels', not of 'manual'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'timezone = "UTC"'),
            "triggers[0].timezone: is of kind 'schedule', not of 'upload'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "manual"\nalarms = ["drift"]'),
            "triggers[0].alarms: is of kind 'alarm', not of 'manual'",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "alarm"\nalarms = []'),
            "triggers[0].alarms: needs at least 1 entry (got a list)",
        ),
        (
            changed(TRAINED, 'prefix = "weather/"', 'kind = "hourly"'),
            "triggers[0].kind: must be 'upload', 'labels', 'schedule', 'alarm' or 'manual' (got 'hourly')",
        ),
        (
            TRAINED + "split = { by = 'time' }",
            "evaluation.split.column: is required where by is 'time': the column that holds it",
        ),
        (
            TRAINED + "split = { by = 'group' }",
            "evaluation.split.column: is required where by is 'group': the column that holds it",
        ),
        (
            TRAINED + "split = { column = 'day' }",
            "evaluation.split.column: is for by = 'time' or by = 'group'",
        ),
        (
            TRAINED + "split = { by = 'group', column = 'sky' }",
            "evaluation.split.column: 'sky' is the target; another column says where a row belongs",
        ),
        (
            TRAINED + "split = { by = 'time', column = 'wind' }",
            "evaluation.split.column: 'wind' is a feature of kind 'number'; time is read as text that sorts, such as "
            "2012-01-31: of kind 'date', or a column that is no feature",
        ),
        (
            TRAINED + "slices = ['wind', 'sky']",
            "evaluation.slices: 'sky' is the target; rows are sliced by what is known before the answer",
        ),
        (
            TRAINED + "max_slice_loss = 0.1",
            "evaluation.max_slice_loss: needs slices: the columns whose values are looked at",
        ),
        (
            changed(TRAINED, '{ kind = "number" }', '{ kind = "text" }')
            + "[contract.fields]\nwind = { minimum = 1.0 }",
            "contract.fields.wind: has a range; 'wind' is text",
        ),
    ],
)
def test_keys_that_disagree_are_one_finding(text, finding):
    assert findings(text) == [finding]


def test_the_keys_of_everything_are_all_keys():
    """So that a new key gets a place in the tests."""
    document = parse_model(EVERYTHING, file="m").model_dump(exclude_unset=True)
    given = {key for trigger in document["triggers"] for key in trigger}
    assert given | {"prefix", "suffix", "kind"} == set(SpecTrigger.model_fields)
    absent = {"candidates", "entry", "data", "seed", "where", "memory_mb"}
    assert set(document["training"]) | absent == set(TrainingSection.model_fields)
    assert set(document["evaluation"]) | {"holdout", "min_improvement", "confidence", "tolerance"} == set(
        EvaluationSection.model_fields
    )
