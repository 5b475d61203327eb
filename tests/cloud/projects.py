"""A project like this one with other models: what a user has who brings them."""

import shutil
from pathlib import Path

from tests.cloud.conftest import PROJECT

SHARED = (".venv", "node_modules")
"""Made by ``make setup`` and only read."""

COPIED = ("app.py", "cdk.json", "pyproject.toml", "package.json", "environments.toml", "requirements", "functions")


def project_without_models(folder: Path) -> Path:
    """A copy of this project with an empty ``models``; layers that are built need not be built again."""
    folder.mkdir()
    for name in SHARED:
        (folder / name).symlink_to(PROJECT / name)
    (folder / ".modelyard").mkdir()
    (folder / ".modelyard" / "ministack").symlink_to(PROJECT / ".modelyard" / "ministack")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in (*COPIED, "stacks", "layers"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copyfile(source, folder / name)
    built = Path("build", "layers")
    (folder / "build").mkdir()
    for target in (PROJECT / built).glob("*-local"):
        shutil.copytree(target, folder / built / target.name, symlinks=True)
    (folder / "models").mkdir()
    return folder
