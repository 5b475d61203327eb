"""What ``doctor`` asks of a model on SageMaker: does its endpoint run the configuration that it was last given?"""

from modelyard import stack_names
from modelyard.cli.session import Session
from modelyard.endpoint_state import problem_of


def check_endpoint(session: Session, name: str) -> None:
    """Compare the endpoint's configuration with the one that its stack made last.

    Raises:
        ConflictError: With code ``endpoint_on_old_configuration`` and those of `problem_of`.
    """
    spec = session.model(name).spec
    if spec.kind is None or session.settings.is_local:
        return
    from modelyard.aws.sagemaker import SageMakerEndpoints

    stack = stack_names.server_stack(session.name, name, spec.endpoint.host)
    outputs = session.outputs(stack)
    endpoint, wanted = (outputs.get(key, "") for key in (stack_names.SAGEMAKER_ENDPOINT, stack_names.SAGEMAKER_CONFIG))
    state = SageMakerEndpoints(session.clients.client("sagemaker")).state(endpoint) if endpoint else None
    problem = problem_of(
        state, name=endpoint or f"of {name}", wanted=wanted, deploy=f"cdk deploy {stack} -c env={session.name}"
    )
    if problem is not None:
        raise problem
