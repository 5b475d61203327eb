"""model.toml: what is accepted, and every way in which one is refused."""

import time
from pathlib import Path

import pytest

from modelyard.errors import SpecError
from modelyard.metrics import METRICS as METRIC_FUNCTIONS
from modelyard.spec import load_model, load_models, parse_model, training_plan
from modelyard.spec_rules import SERVING_PACKAGES
from modelyard.tasks import CANDIDATES, METRICS, SETTINGS
from modelyard.training.plan import Split, Trigger, decode_plan
from tests.fakes.specs import BROUGHT, TRAINED, changed, findings, folder, folder_findings

PROJECT = Path(__file__).parents[2]


# -- what is accepted -------------------------------------------------------------------------------------------------


def test_the_models_of_this_project_are_accepted():
    folders = sorted(spec.parent.name for spec in PROJECT.glob("models/*/model.toml"))
    assert [model.name for model in load_models(PROJECT / "models")] == folders
    assert {"digits", "seattle_weather"} <= set(folders), "a clone may have others of its own"


def test_a_short_spec_gets_the_defaults():
    spec = parse_model(BROUGHT, file="m")
    assert spec.endpoint.timeout_s == 10
    assert spec.rollout.automatic
    assert spec.training is None


def test_the_plan_of_a_spec_is_what_the_functions_read():
    plan = decode_plan(training_plan(parse_model(TRAINED, file="m")))
    assert plan.columns == ("wind", "sky")
    assert plan.triggers == (Trigger(prefix="weather/", debounce_s=plan.triggers[0].debounce_s),)
    assert (plan.evaluation.split, plan.evaluation.confidence, plan.training.where) == (Split(), 0.95, "auto")


def test_a_brought_model_has_no_plan():
    with pytest.raises(ValueError, match="is not trained here"):
        training_plan(parse_model(BROUGHT, file="m"))


def test_settings_keep_the_type_that_the_file_gives_them():
    spec = parse_model(
        changed(TRAINED, "C = [1.0]", "C = [1, 1.0], fit_intercept = [true], solver = ['saga']"), file="m"
    )
    assert spec.training is not None
    grid = spec.training.candidates[0].grid
    assert [type(value) for values in grid.values() for value in values] == [int, float, bool, str]


# -- single values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "a" * 49, "Weather", "../x", "a/b", "a-b", "1a", "_a", "a\\u0000", "\\u202eabc", "wetter\\u00e4"]
)
def test_a_name_that_could_not_be_a_path_a_key_and_a_stack_is_refused(name):
    (finding,) = findings(changed(BROUGHT, 'name = "digits"', f'name = "{name}"'))
    assert finding.startswith("model.name: ")
    assert finding.isascii()
    assert "not a model name: a lower-case letter, then at most 47 of a-z, 0-9 and '_'" in finding


@pytest.mark.parametrize("name", ["a", "a" * 48, "class", "serving", "core", "import"])
def test_words_of_python_and_names_of_layers_are_names_like_others(name):
    assert parse_model(changed(BROUGHT, '"digits"', f'"{name}"'), file="m").model.name == name


@pytest.mark.parametrize(
    "path", ["../x.onnx", "/x.onnx", "a/../../x.onnx", "", ".", "C:/x.onnx", "a\\\\x.onnx", "a\\u0000"]
)
@pytest.mark.parametrize("key", ["artifact", "example"])
def test_a_path_that_leaves_the_folder_or_is_not_portable_is_refused(key, path):
    text = changed(BROUGHT, 'artifact = "digits.onnx"', 'artifact = "x.onnx"\nexample = "x"')
    old = {"artifact": '"x.onnx"', "example": '"x"'}[key]
    (finding,) = findings(changed(text, f"{key} = {old}", f'{key} = "{path}"'))
    assert finding.startswith(f"model.{key}: ")
    assert "folder" in finding


@pytest.mark.parametrize("code", ["a-b", "1a", "", "a.b", "class", "json", "numpy", "modelyard", "größe"])
def test_a_package_that_would_hide_another_is_refused(code):
    (finding,) = findings(BROUGHT + f'code = "{code}"')
    assert finding.startswith("model.code: ")


@pytest.mark.parametrize(
    "app",
    ["", "web", "own_model.web", ":app", "own_model.web:", "own-model:app", "own.web:a:b", "own.web:a.b", "a b:c"],
)
def test_what_names_no_app_is_refused_with_an_example(app):
    (finding,) = findings(BROUGHT + f'app = "{app}"')
    assert finding.startswith(f"model.app: {app!r} names no app; write 'package.module:attribute'")


@pytest.mark.parametrize("app", ["json.web:app", "numpy:app", "modelyard.serving.app:app"])
def test_an_app_in_a_package_that_would_hide_another_is_refused(app):
    (finding,) = findings(BROUGHT + f'app = "{app}"')
    assert "is the name of a package that the endpoint imports itself" in finding


def test_an_app_goes_with_code_with_training_and_with_either_engine():
    app = 'app = "own_model.web:app"\n'
    assert parse_model(BROUGHT + app, file="m").engine == "standard"
    assert parse_model(BROUGHT + app + 'code = "own_model"', file="m").engine == "standard"
    assert parse_model(BROUGHT + app + '[endpoint]\nengine = "lean"', file="m").engine == "lean"
    assert parse_model(changed(TRAINED, "[model]", f"[model]\n{app}"), file="m").engine == "standard"


def test_the_module_of_an_app_lies_below_python(tmp_path):
    path = folder(tmp_path, "digits", BROUGHT + 'app = "own.web:app"')
    (path / "digits.onnx").write_bytes(b"")
    assert folder_findings(path) == [
        "models/digits/model.toml: model.app: python/own/web.py is missing from the model's folder"
    ]
    (path / "python" / "own" / "web").mkdir(parents=True)
    (path / "python" / "own" / "web" / "__init__.py").touch()
    assert load_model(path).code_folder == path / "python"


def test_every_package_of_the_serving_layer_is_reserved():
    lock = (PROJECT / "layers/serving/requirements.txt").read_text()
    locked = {
        line.split("==")[0].replace("-", "_") for line in lock.splitlines() if "==" in line[:60] and line[0] != " "
    }
    assert locked - {"protobuf"} <= SERVING_PACKAGES  # protobuf is imported as google
    assert "google" in SERVING_PACKAGES


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0.0", "-0.1"])
def test_a_tolerance_is_a_finite_positive_number(value):
    (finding,) = findings(TRAINED + f"tolerance = {value}")
    assert finding.startswith("evaluation.tolerance: must be ")


def test_a_timeout_above_the_apis_is_refused_with_the_reason():
    assert findings(BROUGHT + "[endpoint]\ntimeout_s = 30") == [
        "endpoint.timeout_s: must be at most 29 (got 30). Deadline of one request; the HTTP API ends at 30 s."
    ]


@pytest.mark.parametrize("routing", ["request", "caller", "header:x-session", "header:X.Y", "field:any name"])
def test_requests_are_routed_by_what_can_be_found_in_them(routing):
    assert parse_model(BROUGHT + f"[rollout]\nrouting = '{routing}'", file="m").rollout.routing == routing


@pytest.mark.parametrize(
    "routing",
    ["", "Caller", "caller:x", "header", "header:", "header:a b", "field:", "field: x", "cookie:x", "héader:x"],
)
def test_what_routes_nothing_is_refused_with_examples(routing):
    (finding,) = findings(BROUGHT + f"[rollout]\nrouting = '{routing}'")
    assert finding.startswith("rollout.routing: ")
    assert "'header:x-session'" in finding


def test_a_share_and_a_budget_have_limits():
    assert len(findings(BROUGHT + "[rollout]\ncapture = 1.1\nshadow_budget_ms = 0.0\nshadow_budget_mb = -1.0")) == 3


def test_what_lambda_does_not_give_is_refused():
    assert len(findings(BROUGHT + "[endpoint]\nmemory_mb = 10241\nrefresh_s = 0\nconcurrency = 0\napi = 10")) == 4
    assert len(findings(changed(TRAINED, "[training]", "[training]\nmemory_mb = 511\ntimeout_s = 901\nfolds = 1"))) == 3
    limits = (
        "[training]\nmemory_mb = 10241\ntimeout_s = 432001\nfolds = 21\nseed = -1\nbudget_s = 0\nusd_per_hour = 0.0"
    )
    assert len(findings(changed(TRAINED, "[training]", limits))) == 7
    bounds = "debounce_s = 86401\ncooldown_s = -1\nmonthly_usd = 0.0\nminimum_rows = 0"
    assert len(findings(changed(TRAINED, "[[triggers]]", f"[[triggers]]\n{bounds}"))) == 4
    asked = "confidence = 1.0\nholdout = 0.9\nmax_gap = -0.1\nmax_latency_ms = 0.0\nmax_size_mb = 0.0"
    assert len(findings(TRAINED + asked)) == 5
    assert len(findings(TRAINED + "confidence = 0.49")) == 1


@pytest.mark.parametrize("name", ["' wind'", "'wind '", "''"])
def test_a_column_that_no_file_can_have_is_refused(name):
    assert len(findings(changed(TRAINED, "{ wind =", f"{{ {name} ="))) == 1
    assert len(findings(changed(TRAINED, 'target = "sky"', f"target = {name}"))) == 1


@pytest.mark.parametrize("suffix", ["*", "\\\\", "a\\nb"])
def test_an_upload_pattern_is_taken_literally(suffix):
    (finding,) = findings(changed(TRAINED, 'prefix = "weather/"', f'suffix = "{suffix}"'))
    assert finding.startswith("triggers[0].suffix: ")


def test_a_grid_holds_lists_of_single_values():
    texts = {
        "C = 1": "training.candidates[0].grid.C: must be a list (got 1)",
        "C = []": "training.candidates[0].grid.C: needs at least 1 entry (got a list)",
        "C = [[1]]": "training.candidates[0].grid.C[0]: must be a number, text, true or false; values to try are "
        "one list",
        "max_itr = [1]": "training.candidates[0].grid.max_itr: unknown setting; did you mean 'max_iter'?",
        "n_jobs = [1]": "training.candidates[0].grid.n_jobs: unknown setting; known here: C, class_weight, "
        "fit_intercept, l1_ratio, max_iter, solver, tol",
    }
    for grid, finding in texts.items():
        assert findings(changed(TRAINED, "C = [1.0]", grid)) == [finding]


def test_a_secret_in_plain_text_is_refused():
    (finding,) = findings(BROUGHT + 'description = "key AKIAIOSFODNN7EXAMPLE"')
    assert finding.startswith("model.description: holds an AWS access key id in plain text")


# -- keys that agree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            changed(BROUGHT, 'artifact = "digits.onnx"', ""),
            "needs either model.artifact (a finished ONNX file) or a [training] section",
        ),
        (
            changed(TRAINED, "[model]", '[model]\nartifact = "x.onnx"'),
            "model.artifact: stands beside [training]; a model is either brought or trained",
        ),
        (
            BROUGHT + "[evaluation]\nmetric = 'log_loss'",
            "evaluation: needs a [training] section; a model that is brought is not retrained",
        ),
        (BROUGHT + "[[triggers]]", "triggers: needs a [training] section; a model that is brought is not retrained"),
        (
            changed(TRAINED, '[evaluation]\nmetric = "log_loss"', ""),
            "evaluation: is required beside [training]: its metric says which version is better",
        ),
        (
            changed(TRAINED, '"log_loss"', '"rmse"'),
            "evaluation.metric: 'rmse' does not fit task 'multiclass'; log_loss, accuracy, balanced_accuracy, "
            "f1_macro do",
        ),
        (
            changed(TRAINED, 'kind = "logistic_regression", grid = { C = [1.0] }', 'kind = "linear_regression"'),
            "training.candidates[0].kind: 'linear_regression' does not fit task 'multiclass'; logistic_regression, "
            "random_forest, gradient_boosting, lightgbm, neural_network do",
        ),
        (
            changed(TRAINED, 'target = "sky"', 'target = "wind"'),
            "training.target: 'wind' is also a feature; the model would see the answer",
        ),
        (
            changed(TRAINED, "{ wind =", "{ label ="),
            "training.features.label: is the name of a model's output; rename the column in the data",
        ),
        (
            changed(TRAINED, '"weather/"', '"digits/"'),
            "triggers[0].prefix: 'digits/' must start with 'weather/', the model's own",
        ),
        (
            TRAINED + "[contract.fields]\nwnd = { minimum = 0.0 }",
            "contract.fields.wnd: is no input of the model; did you mean 'wind'?",
        ),
        (
            TRAINED + "[contract.fields]\nwind = { minimum = 2.0, maximum = 1.0 }",
            "contract.fields.wind.minimum: 2.0 is above the maximum, 1.0",
        ),
        (
            changed(TRAINED, '{ kind = "number" }', '{ kind = "category" }')
            + "[contract.fields]\nwind = { maximum = 1.0 }",
            "contract.fields.wind: has a range; 'wind' is text",
        ),
        (
            changed(TRAINED, '{ kind = "number" }', '{ kind = "date" }')
            + "[contract.fields]\nwind = { mode = 'clip' }",
            "contract.fields.wind.mode: 'wind' is text, which cannot be clipped; 'reject' or 'warn'",
        ),
        (
            TRAINED + "[contract]\nsample = 'a.csv'",
            "contract.sample: stands beside [training]; what a trained model saw is its training data",
        ),
        (
            BROUGHT + "[contract]\naccept_breaking = { version = 1, reason = 'x' }",
            "contract.accept_breaking: is for retraining; a model that is brought has 'register --accept-breaking'",
        ),
        (
            TRAINED + "[contract]\naccept_breaking = { version = 1, reason = ' ' }",
            "contract.accept_breaking.reason: it is empty; say it in a sentence",
        ),
        (
            TRAINED + "[rollout]\nrouting = 'field:wnd'",
            "rollout.routing: 'wnd' is no input of the model; did you mean 'wind'?",
        ),
        (
            TRAINED + "[monitoring]\nredact = ['wind', 'wnd']",
            "monitoring.redact: 'wnd' is no input of the model; did you mean 'wind'?",
        ),
        (
            BROUGHT + "[contract]\nmode = 'ignore'",
            "contract.mode: must be 'reject', 'clip' or 'warn' (got 'ignore')",
        ),
    ],
)
def test_keys_that_disagree_are_one_finding(text, finding):
    assert findings(text) == [finding]


def test_all_findings_come_at_once_and_fast():
    text = """
[model]
name = "Weather"
task = "multiclas"
artifact = "../x.onnx"
[endpoint]
timeout_s = 60
memory = 128
[training]
target = "wind"
[training.features]
wind = { knd = "number" }
[[training.candidates]]
kind = "random_forest"
grid = { n_estimator = [1] }
[[triggers]]
prefix = "other/"
"""
    began = time.perf_counter()
    found = findings(text)
    assert time.perf_counter() - began < 2
    assert {finding.split(": ")[0] for finding in found} == {
        "model.name",
        "model.task",
        "model.artifact",
        "endpoint.timeout_s",
        "endpoint.memory",
        "training.features.wind.kind",
        "training.features.wind.knd",
        "training.candidates[0].grid.n_estimator",
        "training.target",
        "triggers[0].prefix",
        "evaluation",
    }


@pytest.mark.parametrize(
    "text",
    [
        "model = 1",
        "model = []",
        "[[model]]",
        "training = 1\nevaluation = 2\ntriggers = 3",
        "[training]\nfeatures = 1\ncandidates = 2\n[evaluation]\nmetric = []\n[model]\ntask = []\nname = 1",
        "[training]\ncandidates = [1, { kind = [], grid = 1 }]\nfeatures = { a = 1 }\ntarget = []\n"
        "[model]\ntask = 'binary'",
        "triggers = [1, { prefix = 1 }]\n[training]\n[model]\nname = []",
        "[training]\ntarget = 1\nwhere = 1\ninstance = 2\ntimeout_s = 'x'\nbudget_s = []\nentry = 3\n"
        "candidates = [{ kind = 'random_forest', grid = [], space = 1 }, { space = { a = 1, b = { low = 'x' } } }]\n"
        "[[triggers]]\nkind = 1\ncron = 2\ntimezone = []\nalarms = 3\ncount = 'x'\n"
        "[evaluation]\nsplit = 1\nslices = 2\nmax_slice_loss = []",
        "[training]\ntarget = 'x'\n[evaluation]\nslices = [[], 1]\nsplit = { by = [], column = [] }",
        "contract = 1",
        "[contract]\nfields = 1\nsample = 2\naccept_breaking = []",
        "[contract.fields]\nx = 1\ny = { minimum = 'a', maximum = [] }\n"
        "[training]\nfeatures = { x = 1, y = { kind = [] } }",
    ],
)
def test_rules_between_keys_survive_any_type(text):
    assert findings(text)


# -- what the folder has ----------------------------------------------------------------------------------------------


def test_a_folder_without_a_spec_says_how_to_get_one(tmp_path):
    with pytest.raises(SpecError, match=r"models/x/model\.toml: not found") as caught:
        load_model(tmp_path / "models" / "x")
    assert caught.value.next_step == "Run 'modelyard init' to write one."


def test_what_the_spec_names_has_to_be_there_and_is_told_with_all_else(tmp_path):
    path = folder(
        tmp_path, "other", BROUGHT + 'code = "own"\nexample = "e.json"\ncolour = 1\n[contract]\nsample = "s.csv"'
    )
    assert folder_findings(path) == [
        "models/other/model.toml: model.colour: unknown key; known here: name, task, description, owner, tags, "
        "artifact, code, app, example",
        "models/other/model.toml: model.name: 'digits' differs from the folder's name 'other'; the two are the same",
        "models/other/model.toml: model.artifact: 'digits.onnx' is not a file in the model's folder",
        "models/other/model.toml: model.example: 'e.json' is not a file in the model's folder",
        "models/other/model.toml: contract.sample: 's.csv' is not a file in the model's folder",
        "models/other/model.toml: model.code: python/own/__init__.py is missing from the model's folder",
    ]


@pytest.mark.parametrize("example", ["x", "", "[]", "{}", '{"instances": []}', '{"instances": 1}', "[" * 100_000])
def test_an_example_is_a_request(tmp_path, example):
    path = folder(tmp_path, "digits", BROUGHT + 'example = "e.json"', "digits.onnx", "e.json")
    (path / "e.json").write_text(example)
    (finding,) = folder_findings(path)
    assert "model.example: 'e.json' is not " in finding
    (path / "e.json").write_text('{"instances": [1]}')
    assert load_model(path).name == "digits"


def test_two_models_with_one_name_and_all_files_are_told_together(tmp_path):
    folder(tmp_path, "digits", BROUGHT, "digits.onnx")
    folder(tmp_path, "letters", BROUGHT, "digits.onnx")
    folder(tmp_path, "weather", "")
    with pytest.raises(SpecError) as caught:
        load_models(tmp_path / "models")
    assert caught.value.findings == (
        "models/letters/model.toml: model.name: 'digits' differs from the folder's name 'letters'; the two are "
        "the same",
        "models/weather/model.toml: is empty",
    )
    assert caught.value.next_step == "Correct the files; docs/spec.md explains every key."


def test_a_project_without_models_has_none(tmp_path):
    assert load_models(tmp_path / "models") == []


def test_training_files_come_in_the_order_of_their_names(tmp_path):
    path = folder(tmp_path, "weather", TRAINED, "data/b.csv", "data/a.csv", "data/notes.txt")
    assert [file.name for file in load_model(path).training_files()] == ["a.csv", "b.csv"]


# -- lists that stand elsewhere too -----------------------------------------------------------------------------------


def test_metrics_of_a_task_are_those_that_can_be_computed():
    for task, names in METRICS.items():
        fitting = {name for name, metric in METRIC_FUNCTIONS.items() if metric.classification == (task != "regression")}
        assert set(names) == fitting


def test_settings_are_the_estimators_own():
    pipeline = pytest.importorskip("modelyard.training.pipeline")
    for kind, names in SETTINGS.items():
        entry = pipeline.KINDS[kind]
        makers = {"regression": entry.regressor, "binary": entry.classifier, "multiclass": entry.classifier}
        assert {task for task, make in makers.items() if make} == {
            t for t, kinds in CANDIDATES.items() if kind in kinds
        }
        known = {name for make in makers.values() if make for name in make(0).get_params(deep=False)}
        assert names <= known
