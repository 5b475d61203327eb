"""What lies beside a run's document: its page, and a notebook as it ran. The registry's sweep asks for both."""


def page_key(report_key: str) -> str:
    """The key of the page, in the artifact bucket.

    Example:
        >>> page_key("reports/taxi/run-1-0123456789abcdef.json")
        'reports/taxi/run-1-0123456789abcdef.html'
    """
    return f"{report_key.removesuffix('.json')}.html"


def notebook_key(report_key: str) -> str:
    """The key of the notebook that trained, with its outputs.

    Example:
        >>> notebook_key("reports/taxi/run-1-0123456789abcdef.json")
        'reports/taxi/run-1-0123456789abcdef.ipynb'
    """
    return f"{report_key.removesuffix('.json')}.ipynb"
