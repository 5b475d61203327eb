"""FastAPI imported without the part of its import that an endpoint rarely needs.

FastAPI defines the models of an OpenAPI document when it is imported, and pydantic builds each at once: an eighth of
what the import takes. Built when they are first used, they cost the first request for ``openapi.json`` instead.
Pydantic has a setting for that, which a base class hands down. It is set while FastAPI is imported, and for nobody
else's models.
"""

import importlib.util


def import_fastapi(for_module: str) -> None:
    """Import FastAPI, where the text of a module names it: another ASGI app shall not pay for it."""
    if not _names_fastapi(for_module):
        return
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        import fastapi  # noqa: F401
    except Exception:  # noqa: BLE001, S110 - whoever imports the app meets it again, and reports it
        pass
    finally:
        del BaseModel.model_config["defer_build"]


def _names_fastapi(module: str) -> bool:
    try:
        found = importlib.util.find_spec(module)
        text = getattr(found and found.loader, "get_source", lambda _: "")(module)
    except (Exception, SystemExit):  # noqa: BLE001 - the module's package does not import; whoever imports it reports that
        return False
    return "fastapi" in (text or "")
