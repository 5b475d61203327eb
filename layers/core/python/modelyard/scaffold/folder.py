"""The last stage: ``models/<name>/`` appears whole or not at all.

Everything is written into a hidden folder beside it and read back with the spec's own reader. Then one rename makes it
visible, which fails when somebody else was first. What ends the command before, a full disk or Ctrl-C, leaves nothing.
"""

import errno
import secrets
import shutil
from pathlib import Path

from modelyard.errors import ConflictError
from modelyard.scaffold.draft import Draft
from modelyard.scaffold.render import EXAMPLE_FILE, render, render_example
from modelyard.spec import SPEC_FILE, load_model


def check_free(models: Path, name: str) -> None:
    """Look whether ``models/<name>`` can be made.

    Raises:
        ConflictError: With code ``model_exists``, also for a name that differs in case only: not every system tells
            them apart.
    """
    taken = {path.name.casefold(): path.name for path in models.iterdir()} if models.is_dir() else {}
    if name in taken:
        raise _taken(taken[name])


def write_folder(draft: Draft, models: Path) -> list[Path]:
    """Write the model's folder.

    Args:
        draft: What to write.
        models: The project's ``models/``, made where it is missing.

    Returns:
        The files, ``model.toml`` first.

    Raises:
        ConflictError: When the folder is there.
        SpecError: When the spec's reader refuses what was written.
        OSError: When the disk does.
    """
    files: dict[str, bytes] = {SPEC_FILE: render(draft).encode("utf-8"), draft.file: draft.content}
    if draft.instances:
        files[EXAMPLE_FILE] = render_example(draft.instances).encode("utf-8")
    models.mkdir(exist_ok=True)
    hidden = models / f".{draft.name}-{secrets.token_hex(4)}"
    # One level deeper than models are looked for, and under its final name, which the reader compares.
    unfinished, finished = hidden / draft.name, models / draft.name
    try:
        unfinished.mkdir(parents=True)
        for path, content in files.items():
            (unfinished / path).parent.mkdir(exist_ok=True)
            (unfinished / path).write_bytes(content)
        load_model(unfinished)
        check_free(models, draft.name)
        try:
            unfinished.rename(finished)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise _taken(draft.name) from error
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return [finished / path for path in files]


def _taken(found: str) -> ConflictError:
    return ConflictError(
        f"models/{found} is there already",
        code="model_exists",
        field="name",
        next_step="Choose another name with --name, or remove that folder first.",
    )
