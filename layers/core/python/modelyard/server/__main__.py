"""``python -m modelyard.server``: what the container runs."""

import sys

from modelyard.errors import ModelyardError
from modelyard.server.run import run

if __name__ == "__main__":
    try:
        run()
    except ModelyardError as error:
        sys.exit(f"{error.message}\n{error.next_step or ''}")
