"""Searches: all pages of one, and what a version was trained on."""

from modelyard.registry import Registry, Search
from modelyard.registry.records import Found
from modelyard.version import TrainingObject


def pages(registry: Registry, search: Search, *, limit: int) -> list[Found]:
    """Everything that a search finds, page by page."""
    found: list[Found] = []
    start = None
    for _ in range(500):
        page = registry.search(search, limit=limit, start=start)
        assert len(page.items) <= limit
        found += page.items
        start = page.next
        if start is None:
            return found
    raise AssertionError("the pages do not end")


def trained(sha256: str) -> TrainingObject:
    """One file that a version was trained on, known by its digest."""
    return TrainingObject(bucket="data", key="weather/1.csv", version_id="v1", sha256=sha256, rows=3)
