"""Targets on SageMaker in ``model.toml``: one line is enough, and what does not fit is said at load."""

from pathlib import Path

import pytest

from modelyard.errors import SpecError
from modelyard.instances import has_gpu, has_own_disk, is_arm
from modelyard.local.sagemaker_api import LIMITS
from modelyard.spec import ModelSpec, load_models, parse_model
from modelyard.spec_server import BODY_MB, KINDS, ServerSection
from modelyard.way_in.asked import MAX_SERVERLESS_BYTES
from modelyard.way_in.settings import TARGETS

HEAD = '[model]\nname = "m"\ntask = "regression"\nartifact = "m.onnx"\n'
REALTIME = '[endpoint]\ntarget = "sagemaker-realtime"\n'
SERVERLESS = '[endpoint]\ntarget = "sagemaker-serverless"\n'
ASYNC = '[endpoint]\ntarget = "sagemaker-async"\n'


def spec(text: str) -> ModelSpec:
    return parse_model(HEAD + text, file="model.toml")


def findings(text: str, head: str = HEAD) -> list[str]:
    with pytest.raises(SpecError) as refused:
        parse_model(head + text, file="model.toml")
    return [finding.removeprefix("model.toml: ") for finding in refused.value.findings]


@pytest.mark.parametrize("target", KINDS)
def test_one_line_moves_a_model(target: str) -> None:
    moved = spec(f'[endpoint]\ntarget = "{target}"\n')
    assert moved.kind == target.removeprefix("sagemaker-")
    assert moved.server == ServerSection()
    assert moved.engine == "lean"
    assert spec("").kind is None


def test_what_the_spec_leaves_out_depends_on_the_kind() -> None:
    server = ServerSection()
    assert [server.least_instances(kind) for kind in ("realtime", "async")] == [1, 0]
    assert {kind: server.body_mb(kind) for kind in BODY_MB} == {"serverless": 4, "realtime": 25, "async": 25}
    assert spec(ASYNC).timeout_s == 900
    assert spec(REALTIME + "timeout_s = 7").timeout_s == 7


def test_what_runs_without_pydantic_has_the_same_targets_and_limits() -> None:
    assert tuple(KINDS) == TARGETS
    assert {target: BODY_MB[kind] * 1024 * 1024 for target, kind in KINDS.items()} == LIMITS
    assert LIMITS["sagemaker-serverless"] == MAX_SERVERLESS_BYTES


def test_a_gpu_has_the_standard_engine() -> None:
    gpu = '[server]\ninstance = "ml.g5.xlarge"\nproviders = ["cuda", "cpu"]\n'
    assert spec(REALTIME + gpu).engine == "standard"
    assert findings(REALTIME + 'engine = "lean"\n' + gpu) == [
        "endpoint.engine: is 'lean' beside server.providers with 'cuda'; only 'standard' runs on a GPU"
    ]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[endpoint]\ntarget = "sagemaker"\n', "endpoint.target", "did you mean"),
        ("[server]\nqueue = 3\n", "server", "is for models on SageMaker"),
        ('[endpoint]\nhost = "a"\n', "endpoint.host", "is for models on SageMaker"),
        (REALTIME + 'host = "A b"\n', "endpoint.host", "is not a model name"),
        (ASYNC + 'host = "a"\n', "endpoint.host", "one place for its answers"),
        (REALTIME + "memory_mb = 1024\n", "endpoint.memory_mb", "is for target = 'lambda'"),
        (REALTIME + 'architecture = "arm64"\n', "endpoint.architecture", "the instance decides it"),
        (REALTIME + "snap_start = true\n", "endpoint.snap_start", "has no snapshot"),
        (REALTIME + "[server]\nmin_instances = 0\n", "server.min_instances", "0 is for sagemaker-async"),
        (REALTIME + "[server]\nmin_instances = 9\n", "server.min_instances", "9 is above server.max_instances, 4"),
        (REALTIME + "[server]\nmax_instances = 0\n", "server.max_instances", "at least 1"),
        (REALTIME + "[server]\nmax_body_mb = 26\n", "server.max_body_mb", "25 MB"),
        (REALTIME + "[server]\nmemory_mb = 2048\n", "server.memory_mb", "is for sagemaker-serverless"),
        (REALTIME + "[server]\ntimeout_s = 60\n", "server.timeout_s", "is for sagemaker-async"),
        (REALTIME + "timeout_s = 60\n", "endpoint.timeout_s", "at most 29"),
        (REALTIME + '[server]\ninstance = "m5.large"\n', "server.instance", "is not an instance type"),
        (REALTIME + '[server]\nproviders = ["cuda"]\n', "server.providers", "'ml.m5.large' has none"),
        (REALTIME + "[server]\nproviders = []\n", "server.providers", "at least 1"),
        (SERVERLESS + '[server]\nproviders = ["cuda"]\n', "server.providers", "a serverless endpoint has none"),
        (SERVERLESS + "[server]\nmemory_mb = 1500\n", "server.memory_mb", "1024, 2048"),
        (SERVERLESS + "[server]\nmax_body_mb = 5\n", "server.max_body_mb", "4 MB"),
        (SERVERLESS + "[server]\nmax_concurrency = 201\n", "server.max_concurrency", "200"),
        (SERVERLESS + "[server]\nprovisioned_concurrency = 21\n", "server.provisioned_concurrency", "21 is above"),
        (SERVERLESS + '[server]\ninstance = "ml.m5.large"\n', "server.instance", "is for sagemaker-realtime and"),
        (ASYNC + "[server]\ntimeout_s = 3601\n", "server.timeout_s", "at most 3600"),
        (ASYNC + "[server]\nmax_body_mb = 1025\n", "server.max_body_mb", "at most 1024"),
        (ASYNC + "[server]\ninvocations_per_instance = 5\n", "server.invocations_per_instance", "sagemaker-realtime"),
    ],
)
def test_what_a_target_does_not_have_is_said_with_its_key(text: str, key: str, said: str) -> None:
    found = [finding for finding in findings(text) if finding.startswith(f"{key}: ")]
    assert len(found) >= 1, findings(text)
    assert any(said in finding for finding in found), found


def test_an_app_stays_on_lambda_with_the_reason() -> None:
    (finding,) = findings(REALTIME, head=HEAD + 'app = "m_model.web:app"\n')
    assert finding.startswith("endpoint.target: is 'sagemaker-realtime' beside model.app; an app needs its own routes")


def test_all_findings_come_at_once() -> None:
    text = SERVERLESS + 'memory_mb = 128\n[server]\nmax_body_mb = 5\nproviders = ["cuda"]\n'
    assert [finding.partition(":")[0] for finding in findings(text)] == [
        "endpoint.memory_mb",
        "server.providers",
        "server.max_body_mb",
    ]


def _write(folder: Path, name: str, endpoint: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "model.toml").write_text(HEAD.replace('"m"', f'"{name}"') + endpoint)
    (folder / name / "m.onnx").touch()


def test_models_of_one_host_ask_for_the_same_server(tmp_path: Path) -> None:
    host = 'host = "shelf"\n'
    _write(tmp_path / "models", "first", REALTIME + host)
    _write(tmp_path / "models", "same", REALTIME + host)
    assert len(load_models(tmp_path / "models")) == 2
    _write(tmp_path / "models", "other", REALTIME + host + "[server]\nqueue = 3\n")
    _write(tmp_path / "models", "small", SERVERLESS + host)
    with pytest.raises(SpecError) as refused:
        load_models(tmp_path / "models")
    assert list(refused.value.findings) == [
        "models/other/model.toml: server: differs from that of models/first, which has the same host 'shelf'",
        "models/small/model.toml: endpoint.target: 'sagemaker-serverless' differs from 'sagemaker-realtime' of "
        "models/first, which has the same host 'shelf'",
    ]


@pytest.mark.parametrize(
    ("instance", "gpu", "arm", "disk"),
    [
        ("ml.m5.large", False, False, False),
        ("ml.m5d.24xlarge", False, False, True),
        ("ml.c7g.large", False, True, False),
        ("ml.c6gn.16xlarge", False, True, False),
        ("ml.m6gd.large", False, True, True),
        ("ml.g4dn.xlarge", True, False, True),
        ("ml.g5.xlarge", True, False, True),
        ("ml.p4d.24xlarge", True, False, True),
        ("ml.p3.2xlarge", False, False, False),
        ("ml.p6-b200.48xlarge", True, False, False),
        ("ml.inf2.xlarge", False, False, False),
        ("m5.large", False, False, False),
    ],
)
def test_an_instance_says_by_its_name_what_it_has(instance: str, gpu: bool, arm: bool, disk: bool) -> None:
    assert (has_gpu(instance), is_arm(instance), has_own_disk(instance)) == (gpu, arm, disk)
