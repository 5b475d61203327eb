"""The command line: it parses, calls the library, and shows. It runs on a person's machine and is in no layer."""
