"""``python -m modelyard``: the same as the ``modelyard`` command, without a script on PATH."""

from modelyard.cli.main import main

if __name__ == "__main__":
    main()
