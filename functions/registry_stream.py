"""Registry, stream: the pointer and the search index follow the table."""

import os
from typing import Any

from modelyard.aws.registry import open_registry
from modelyard.upkeep import follow

REGISTRY = open_registry(os.environ)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry point."""
    return follow(REGISTRY, event, print)
