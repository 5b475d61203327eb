"""What synth knows of where a model should run: the limits that its files and its spec come near, as warnings.

No network: traffic and latency are what ``modelyard doctor`` looks at.
"""

from functools import partial

from aws_cdk import Annotations

from modelyard.placement import fitting, known_of
from modelyard.spec import Model
from stacks.base import ModelyardStack


def warn_of_placement(stack: ModelyardStack, model: Model) -> None:
    """Add a warning to the stack for each limit that the model comes near, with the arithmetic."""
    built = partial(stack.built_layer, architecture=model.spec.endpoint.architecture)
    for finding in fitting(known_of(model, built=built)):
        move = "" if finding.move_to is None else f'; set endpoint.target = "{finding.move_to}"'
        text = "\n".join((f"{model.name} {finding.says}{move}", *(f"  {line}" for line in finding.lines)))
        Annotations.of(stack).add_warning_v2(f"modelyard:placement-{finding.about}", text)
