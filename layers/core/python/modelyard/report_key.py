"""Where the page of a run's document lies: beside it. Apart from the page, because the registry's sweep asks too."""


def page_key(report_key: str) -> str:
    """The key of the page, in the artifact bucket.

    Example:
        >>> page_key("reports/taxi/run-1-0123456789abcdef.json")
        'reports/taxi/run-1-0123456789abcdef.html'
    """
    return f"{report_key.removesuffix('.json')}.html"
