"""From ``model.app`` to the app: imported and looked at, at the build and again when the function starts."""

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelyard.errors import ModelError

if TYPE_CHECKING:
    from mangum.types import ASGI

_NEXT_STEP = "Correct model.app or the package, and deploy it; 'modelyard build' tries the import."


def find_app(named: str) -> "ASGI":
    """Import the app that ``package.module:attribute`` names.

    Raises:
        ModelError: When it cannot be imported, or is no ASGI app (code ``app_not_loadable``).
    """
    module_name, _, attribute = named.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise _wrong(f"is {named!r}, and {module_name} cannot be imported: {_said(error)}") from error
    try:
        app: Any = getattr(module, attribute)
    except AttributeError:
        apps = [name for name, value in vars(module).items() if not name.startswith("_") and _looks_like_an_app(value)]
        has = f"its apps are {', '.join(map(repr, apps))}" if apps else "it has no app"
        raise _wrong(f"is {named!r}, and {module_name} has no {attribute!r}; {has}") from None
    if not is_asgi(app):
        kind = f"the class {app.__name__}" if inspect.isclass(app) else f"of type {type(app).__name__}"
        raise _wrong(
            f"is {named!r}, which is {kind} and no ASGI app: that is an object which is called with scope, receive and "
            "send, like FastAPI()"
        )
    return app  # type: ignore[no-any-return]


def is_asgi(value: Any) -> bool:
    """Whether calling it with scope, receive and send gives a coroutine: WSGI apps, classes and factories do not."""
    if inspect.isclass(value) or not callable(value):
        return False
    if not (inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)):
        return False
    try:
        inspect.signature(value).bind({}, None, None)
    except (TypeError, ValueError):
        return False
    return True


def _looks_like_an_app(value: Any) -> bool:
    """Whether to propose it: a route of three parameters could be called like an app, but is none."""
    if not is_asgi(value):
        return False
    return not inspect.isfunction(value) or next(iter(inspect.signature(value).parameters)) == "scope"


def answers_its_errors(app: Any) -> bool:
    """Whether the app has a handler for whatever is raised, as FastAPI and Starlette take one.

    In debug mode the handler is not asked: tracebacks are answered.
    """
    handlers = getattr(app, "exception_handlers", None)
    return isinstance(handlers, Mapping) and not getattr(app, "debug", False) and bool({500, Exception} & {*handlers})


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _wrong(problem: str) -> ModelError:
    return ModelError(f"model.app {problem}", code="app_not_loadable", next_step=_NEXT_STEP)
