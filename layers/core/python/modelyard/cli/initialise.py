"""Written by the init work."""


def init() -> None:
    """Write a model.toml."""
