"""The image of the model server, for the endpoints on SageMaker; nobody without such a model needs Docker."""

from collections.abc import Sequence

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from modelyard.instances import is_arm
from modelyard.packaging.sources import NOT_IN_LAMBDA
from modelyard.spec import Model
from stacks.base import ModelyardStack

IN_THE_IMAGE = ("layers/core/python", "layers/native", "layers/server")
"""What the Dockerfile copies, beside the models' own code; nothing else makes another image."""
NOT_IN_THE_IMAGE = tuple(f"layers/core/python/modelyard/{folder}" for folder in NOT_IN_LAMBDA if folder != "server")
"""Of those, what only the developer's machine runs: a change of the command line is no release of every endpoint."""


class ServerImage(Construct):
    """The image of one endpoint: the library, the locked packages, and the code of the models that it answers for.

    Synth hashes these files and builds nothing; ``cdk deploy`` builds the image, with Docker, when the hash is new.

    Attributes:
        asset: The image.
    """

    def __init__(self, scope: Construct, construct_id: str, *, models: Sequence[Model]) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        spec = models[0].spec  # of several with one host, all ask for the same
        own = [f"models/{model.name}/python" for model in models if model.code_folder is not None]
        arm = spec.kind != "serverless" and is_arm(spec.server.instance)
        self.asset = ecr_assets.DockerImageAsset(
            self,
            "Image",
            directory=str(stack.deployment.project),
            file="layers/server/Dockerfile",
            target=f"{'gpu' if spec.server.wants_gpu else 'cpu'}{'_own' if own else ''}",
            build_args={
                "PYTHON": stack.settings.python_version,
                **({"CODE": ":".join(f"/opt/{folder}" for folder in own)} if own else {}),
            },
            platform=ecr_assets.Platform.LINUX_ARM64 if arm else ecr_assets.Platform.LINUX_AMD64,
            exclude=["*", *(f"!{part}" for part in (*IN_THE_IMAGE, *own)), *NOT_IN_THE_IMAGE, "**/__pycache__"],
        )
