"""`make bench`: every benchmark of the endpoint, one after another; figures, tables and pictures go to their places.

    benchmarks/endpoint/NAME.py --json ─► build/benchmarks/endpoint/NAME.json    every figure by its name
                                       ─► benchmarks/endpoint/*.svg              pictures
                                       ─► benchmarks/README.md                   tables, machine, date, command

Each script of that folder that can be run takes part; it has the interface of `benchmarks.measuring.script`. With
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

SCRIPTS = PROJECT / "benchmarks" / "endpoint"
FIGURES = PROJECT / "build" / "benchmarks" / "endpoint"
PAGE = PROJECT / "benchmarks" / "README.md"
BEGIN, END = "<!-- figures of {}: begin -->", "<!-- figures of {}: end -->"
MINUTES, QUICK_MINUTES = 20, 3


def main() -> None:
    known = scripts()
    parser = argparse.ArgumentParser(description="Run the benchmarks of the endpoint.")
    parser.add_argument("--quick", action="store_true", help="few rounds: do they run, not what does it cost")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these; known are {', '.join(known)}")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; known are {', '.join(known)}")
    names = options.names or known
    if not options.names:
        print(f"This takes about {QUICK_MINUTES if options.quick else MINUTES} minutes.", file=sys.stderr)
    failed = []
    for name in names:
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr)
        document = _ran(name, quick=options.quick)
        if document is None:
            failed.append(f"{name} ended without figures")
            continue
        failed += [f"{name}: {claim['name']}" for claim in document["claims"] if not claim["holds"]]
        print(as_text(document), f"\n{name} took {time.monotonic() - began:.0f} s.\n", flush=True)
        if not options.quick:
            _publish(name, document)
    for one in failed:
        print(f"does not hold: {one}", file=sys.stderr)
    if failed and not options.quick:
        raise SystemExit(1)


def scripts() -> list[str]:
    """Names of the benchmarks: files that something happens in when they are run."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py") if "\nif __name__ ==" in path.read_text(encoding="utf-8"))


def _ran(name: str, *, quick: bool) -> dict[str, Any] | None:
    """What one script printed; it is kept under ``build/``."""
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT, check=False).stdout
    if not printed.lstrip().startswith("{"):
        return None
    document: dict[str, Any] = json.loads(printed)
    FIGURES.mkdir(parents=True, exist_ok=True)
    place = FIGURES / f"{name}{'.quick' if quick else ''}.json"
    place.write_text(json.dumps({**document, "pictures": sorted(document["pictures"])}, indent=2) + "\n")
    return document


def _publish(name: str, document: dict[str, Any]) -> None:
    """Write the pictures, and the part of the page between the two marks of this script."""
    for file, picture in document["pictures"].items():
        (SCRIPTS / file).write_text(picture, encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        print(f"{PAGE.name} has no place for {name}: add the lines '{begin}' and '{end}'", file=sys.stderr)
        return
    PAGE.write_text(f"{before}{begin}\n\n{_section(document)}\n\n{end}{after}", encoding="utf-8")


def _section(document: dict[str, Any]) -> str:
    pictures = [f"![{file.removesuffix('.svg').replace('_', ' ')}](endpoint/{file})" for file in document["pictures"]]
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
