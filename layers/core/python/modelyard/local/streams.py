"""A gap of the emulator, closed in its saved state: how far the streams of tables were read.

MiniStack 1.5.33 saves how many changes of a stream each function has read and forgets the changes themselves. After a
restart the stream begins at 0 and the function waits at, say, 190: it would miss the next 190 changes. So before a
start the saved counts are set to 0. Nothing is read twice by that, since there is nothing there.
"""

import mmap
import re
from pathlib import Path

_POSITIONS = b'"dynamodb_stream_positions"'
_COUNT = re.compile(rb"(?<=: )[1-9][0-9]*(?=[,}])")


def rewind(services: Path) -> None:
    """Set the counts in the emulator's saved state (a folder of JSON files) to 0, in place.

    The file holds the code of all functions, hundreds of megabytes, and the counts are its last part: so it is not
    parsed, and every digit becomes one that keeps its length.
    """
    path = services / "lambda.json"
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as saved:
        start = saved.rfind(_POSITIONS)
        if start >= 0:
            saved[start:] = _COUNT.sub(lambda count: b"0".ljust(len(count[0])), saved[start:])
