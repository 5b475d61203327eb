"""The ``modelyard`` command: global options, the list of commands, and how errors end.

Exit codes: 0 done, 1 a defect of ours, 2 usage, 3 credentials, 4 conflict, 5 AWS, 130 Ctrl-C; ``replay`` has its own
for its verdicts. An error is one line of cause and one line of what to run next; a traceback only with ``--debug``.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from modelyard import __version__
from modelyard.cli import (
    build,
    catalogue,
    dataset,
    describe,
    export,
    feedback,
    importing,
    initialise,
    look,
    models,
    place,
    release,
    replay,
    report,
    reproduce,
    rollout,
    serve,
    training,
    trial,
    up,
)
from modelyard.cli.session import Session
from modelyard.cli.show import errors
from modelyard.environments import LOCAL
from modelyard.errors import AWSError, ModelyardError, SpecError, UsageError
from modelyard.names import legible


class Commands(TyperGroup):
    """The commands, with one place where every error ends; Typer itself ends usage errors, with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            errors.print("[red]stopped[/]: nothing half-done is left behind; run the command again to go on")
            raise typer.Exit(130) from None
        except ModelyardError as error:
            if debug:
                raise
            show_error(error, command=str(ctx.invoked_subcommand))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            raise  # the reader, like `head`, has enough: Typer ends it without a word
        except OSError as error:
            if debug:
                raise
            place = f" ({error.filename})" if error.filename else ""
            errors.print(f"[red]modelyard:[/] {escape(error.strerror or str(error))}{escape(place)}", soft_wrap=True)
            errors.print("  [dim]next:[/] check the disk and the permissions, then run the command again")
            raise typer.Exit(1) from error


app = typer.Typer(
    name="modelyard",
    cls=Commands,
    help="From an ONNX file or a CSV to a governed HTTPS endpoint: versioned, reversible, retrained on new data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    env: Annotated[
        str | None,
        typer.Option("--env", "-e", envvar="MODELYARD_ENV", help="Environment of environments.toml; default: local."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Choose the environment; every command works the same in each."""
    context.obj = Session(env or LOCAL, start=Path.cwd())
    context.meta["env"] = env
    context.meta["debug"] = debug


@app.command()
def version() -> None:
    """Print the version of Modelyard."""
    sys.stdout.write(f"modelyard {__version__}\n")


COMMANDS: tuple[Callable[..., None], ...] = (
    up.up,
    up.down,
    look.status,
    initialise.init,
    models.register,
    models.upload,
    training.train,
    training.runs,
    dataset.dataset,
    reproduce.reproduce,
    models.predict,
    feedback.feedback,
    models.versions,
    models.history,
    models.promote,
    models.rollback,
    trial.trial,
    replay.replay,
    rollout.approve,
    rollout.reject,
    release.release,
    describe.diff,
    describe.card,
    report.report,
    export.export,
    catalogue.search,
    catalogue.lineage,
    catalogue.notes,
    catalogue.sweep,
    look.logs,
    look.doctor,
    place.place,
    serve.serve,
    build.build,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(importing.app, name="import")
app.add_typer(rollout.app, name="rollout")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text in the terminal's encoding
    try:
        try:
            app(args=arguments, prog_name="modelyard")
        except SystemExit as ended:
            if not ended.code:
                sys.stdout.flush()  # here, and not while Python ends, where nobody would hear of it
            raise
    except BrokenPipeError:
        raise SystemExit(1) from None  # the reader, like `head`, has enough
    except OSError as error:
        errors.print(f"[red]modelyard:[/] {escape(error.strerror or str(error))} (standard output)", soft_wrap=True)
        errors.print("  [dim]next:[/] check where the output goes, then run the command again")
        raise SystemExit(1) from error
    finally:
        _give_up_output()


def _give_up_output() -> None:
    """Let what cannot be written go: Python would try again while it ends, and end with 120."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def show_error(error: ModelyardError, *, command: str = "") -> None:
    """One line of cause (or one for each finding), one line of what to do next."""
    lines = error.findings if isinstance(error, SpecError) and error.findings else (error.message,)
    for line in lines:
        errors.print(f"[red]modelyard:[/] {escape(legible(line))}", soft_wrap=True)
    next_step = error.next_step or _next_step(error, command)
    errors.print(f"  [dim]next:[/] {escape(legible(next_step))}", soft_wrap=True)


def _next_step(error: ModelyardError, command: str) -> str:
    """What helps after an error that does not say so itself."""
    if isinstance(error, UsageError):
        return f"Correct it and run the command again; 'modelyard {command} --help' says what it takes."
    if isinstance(error, AWSError):
        return "Run the command again, which is safe; 'modelyard doctor' looks at the environment."
    return "Look at 'modelyard status', then run the command again; --debug before it shows where it failed."


if __name__ == "__main__":
    main()
