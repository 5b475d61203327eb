"""`make bench`: every benchmark of the endpoint and of the server, one after another; figures go to their places.

    benchmarks/FOLDER/NAME.py --json ─► build/benchmarks/FOLDER/NAME.json    every figure by its name
                                     ─► benchmarks/FOLDER/*.svg              pictures
                                     ─► benchmarks/README.md                 tables, machine, date, command

Each script of the two folders that can be run takes part; it has the interface of `benchmarks.measuring.script`. With
``--quick`` the page and the pictures stay as they are: numbers of a quick run say nothing. Give names to run only these
scripts.

    make bench [ARGS="--quick cold_start"]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import as_text, claim_line, machine_line  # noqa: E402 - the path comes first

BENCHMARKS = PROJECT / "benchmarks"
FOLDERS = ("endpoint", "server")
FIGURES = PROJECT / "build" / "benchmarks"
PAGE = BENCHMARKS / "README.md"
BEGIN, END = "<!-- figures of {}: begin -->", "<!-- figures of {}: end -->"
MINUTES, QUICK_MINUTES = 45, 5


def main() -> None:
    known = scripts()
    parser = argparse.ArgumentParser(description="Run the benchmarks of the endpoint and of the server.")
    parser.add_argument("--quick", action="store_true", help="few rounds: do they run, not what does it cost")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these; known are {', '.join(known)}")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; known are {', '.join(known)}")
    names = options.names or list(known)
    if not options.names:
        print(f"This takes about {QUICK_MINUTES if options.quick else MINUTES} minutes.", file=sys.stderr)
    failed = []
    for name in names:
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr)
        document = _ran(known[name], quick=options.quick)
        if document is None:
            failed.append(f"{name} ended without figures")
            continue
        failed += [f"{name}: {claim['name']}" for claim in document["claims"] if not claim["holds"]]
        print(as_text(document), f"\n{name} took {time.monotonic() - began:.0f} s.\n", flush=True)
        if not options.quick:
            _publish(known[name], document)
    for one in failed:
        print(f"does not hold: {one}", file=sys.stderr)
    if failed and not options.quick:
        raise SystemExit(1)


def scripts() -> dict[str, Path]:
    """The benchmarks by name: files that something happens in when they are run."""
    files = [file for folder in FOLDERS for file in sorted((BENCHMARKS / folder).glob("*.py"))]
    return {file.stem: file for file in files if "\nif __name__ ==" in file.read_text(encoding="utf-8")}


def _ran(script: Path, *, quick: bool) -> dict[str, Any] | None:
    """What one script printed; it is kept under ``build/``."""
    command = [sys.executable, str(script), "--json", *(["--quick"] if quick else [])]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT, check=False).stdout
    if not printed.lstrip().startswith("{"):
        return None
    document: dict[str, Any] = json.loads(printed)
    place = FIGURES / script.parent.name / f"{script.stem}{'.quick' if quick else ''}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({**document, "pictures": sorted(document["pictures"])}, indent=2) + "\n")
    return document


def _publish(script: Path, document: dict[str, Any]) -> None:
    """Write the pictures, and the part of the page between the two marks of this script."""
    for file, picture in document["pictures"].items():
        script.with_name(file).write_text(picture, encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    begin, end = BEGIN.format(script.stem), END.format(script.stem)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        print(f"{PAGE.name} has no place for {script.stem}: add the lines '{begin}' and '{end}'", file=sys.stderr)
        return
    PAGE.write_text(f"{before}{begin}\n\n{_section(script.parent.name, document)}\n\n{end}{after}", encoding="utf-8")


def _section(folder: str, document: dict[str, Any]) -> str:
    pictures = [f"![{file.removesuffix('.svg').replace('_', ' ')}]({folder}/{file})" for file in document["pictures"]]
    parts = [
        f"    {document['command']}",
        f"{machine_line(document['machine'])} {document['seconds']} s in all.",
        *pictures,
        document["report"],
        "\n".join(map(claim_line, document["claims"])),
    ]
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    main()
