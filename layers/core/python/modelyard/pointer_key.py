"""Where the pointer of a model lies. Apart, and without imports: an endpoint asks for it before anything else."""


def pointer_key(model: str) -> str:
    """The key of the pointer of ``model`` in the artifact bucket."""
    return f"deployments/{model}.json"
