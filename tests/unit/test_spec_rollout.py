"""What ``[rollout]`` of a model.toml may say, and what is nonsense; the plan that the workflow carries."""

import msgspec
import pytest

from modelyard import spec_rollout_rules
from modelyard.errors import SpecError, UsageError
from modelyard.rollout.plan import Phase, RolloutPlan, decode_plan
from modelyard.rollout.policy import Policy
from modelyard.spec import parse_model
from modelyard.spec_rollout import PolicySection, RolloutSection, ShadowSection, StepSection, rollout_plan

HEAD = '[model]\nname = "m"\ntask = "binary"\nartifact = "m.onnx"\n\n[rollout]\n'


def findings(text: str) -> list[str]:
    with pytest.raises(SpecError) as refused:
        parse_model(HEAD + text, file="m.toml")
    return [finding.removeprefix("m.toml: ") for finding in refused.value.findings]


def test_a_gradual_rollout_needs_no_other_key() -> None:
    spec = parse_model(HEAD + 'mode = "gradual"\n', file="m.toml")
    plan = decode_plan(rollout_plan(spec))
    assert plan == RolloutPlan(model="m")
    assert plan.phases == (
        Phase("shadow", 0, 60, 1000), Phase("canary", 5, 10), Phase("canary", 25, 10), Phase("canary", 50, 10)
    )  # fmt: skip


def test_the_defaults_of_the_spec_the_rules_and_the_plan_are_the_same() -> None:
    policy, plan = PolicySection(), RolloutPlan(model="m")
    for name in PolicySection.model_fields:
        default, said = getattr(Policy(), name), getattr(policy, name)
        assert (tuple(said) if isinstance(said, list) else said) == default, name
    assert set(PolicySection.model_fields) == {field.name for field in msgspec.structs.fields(Policy)}
    section = RolloutSection()
    assert (section.longest_hours, section.judge_every_s) == (plan.longest_hours, plan.judge_every_s)
    assert [(step.share, step.minutes) for step in section.steps] == [(step.share, step.minutes) for step in plan.steps]
    assert spec_rollout_rules.SHADOW_MINUTES == ShadowSection().minutes == plan.shadow.minutes
    assert StepSection(share=1).minutes == spec_rollout_rules.STEP_MINUTES
    assert (len(section.steps), section.longest_hours) == (spec_rollout_rules.STEPS, spec_rollout_rules.LONGEST_HOURS)
    gradual = {
        name for name, field in RolloutSection.model_fields.items() if (field.description or "").startswith("gradual:")
    }
    assert set(spec_rollout_rules.GRADUAL) == gradual


def test_the_environment_has_a_person_asked_and_the_evaluation_says_what_is_judged() -> None:
    text = (
        '[model]\nname = "m"\ntask = "multiclass"\n[training]\ntarget = "y"\n[training.features]\n'
        'wind = { kind = "number" }\nplace = { kind = "category" }\n[evaluation]\nmetric = "f1_macro"\n'
        'slices = ["wind", "place"]\n[monitoring]\nredact = ["place"]\n[rollout]\nmode = "gradual"\n'
    )
    spec = parse_model(text, file="m.toml")
    plan = decode_plan(rollout_plan(spec, approval=True))
    assert plan.approval == "promotion"
    assert (plan.policy.metric, plan.policy.slices) == ("f1_macro", ("wind",)), "what is redacted cannot be judged"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = []\n", "rollout.steps: is for mode = 'gradual'"),
        ('mode = "gradul"\n', "did you mean 'gradual'?"),
        ('mode = "gradual"\nsteps = []\nshadow = { minutes = 0 }\n', "rollout.steps: is empty and there is no shadow"),
        ('mode = "gradual"\nshadow = { minutes = 0, requests = 5 }\n', "rollout.shadow.requests: stands beside"),
        ('mode = "gradual"\nsteps = [{ share = 50 }, { share = 5 }]\n', "rollout.steps[1].share: 5 does not rise"),
        ('mode = "gradual"\nsteps = [{ share = 5 }, { share = 5 }]\n', "rollout.steps[1].share: 5 does not rise"),
        ('mode = "gradual"\nsteps = [{ share = 100 }]\n', "rollout.steps[0].share: 100 is not a share"),
        ('mode = "gradual"\nsteps = [{ share = 0 }]\n', "rollout.steps[0].share: 0 is not a share"),
        ('mode = "gradual"\nsteps = [{ share = 0.125 }]\n', "at most two decimals"),
        ('mode = "gradual"\nsteps = [{ shares = 5 }]\n', "did you mean 'share'?"),
        ('mode = "gradual"\nlongest_hours = 1\n', "rollout.longest_hours: 1 hours are over before"),
        ('mode = "gradual"\njudge_every_s = 1\n', "rollout.judge_every_s: must be at least 5"),
        ('mode = "gradual"\ncapture = 0.0\n', "rollout.capture: 0 keeps nothing"),
        ('mode = "gradual"\n[rollout.policy]\nmetric = "rmse"\n', "rollout.policy.metric: 'rmse' does not fit"),
        ('mode = "gradual"\n[rollout.policy]\nmin_agrement = 0.9\n', "did you mean 'min_agreement'?"),
        (
            'mode = "gradual"\n[rollout.policy]\nmin_agreement = "high"\n',
            "rollout.policy.min_agreement: must be a number",
        ),
        (
            'mode = "gradual"\n[rollout.policy]\nslices = ["place"]\n[monitoring]\nredact = ["place"]\n',
            "rollout.policy.slices: 'place' is redacted",
        ),
    ],
)
def test_nonsense_is_refused_in_words(text: str, said: str) -> None:
    found = findings(text)
    assert any(said in finding for finding in found), found


def test_a_wrong_type_is_the_schemas_to_say_and_not_the_rules() -> None:
    found = findings('mode = "gradual"\nshadow = 5\nsteps = { share = 5 }\nlongest_hours = "long"\n')
    assert [finding.partition(":")[0] for finding in found] == [
        "rollout.shadow", "rollout.steps", "rollout.longest_hours"
    ]  # fmt: skip


def test_a_plan_that_cannot_be_read_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="the rollout's plan cannot be read"):
        decode_plan({"model": "m", "steps": [{"share": "much"}]})
