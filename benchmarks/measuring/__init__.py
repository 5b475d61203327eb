"""What the benchmarks of the endpoint and of the server share: how they are called, what they run, what they show.

script.py        --quick and --json, the machine, claims; one `Result` per script
layers.py        the built layers, unpacked once, and an interpreter that has nothing else
rivals.py        the other frameworks, from a lock with hashes, with bytecode and without
environments.py  programs whose packages do not go with ours, each in an environment of its own
server.py        a server in processes of its own, on one processor
wrk.py           the load, from another processor
turns.py         servers asked in turn, and ratios within a round
workload.py      the model, its contract and pointer, the events
bucket.py        a stand-in for S3 in a process of its own
table.py         Markdown
picture.py       SVG
"""

import modelyard  # noqa: F401 - it keeps onnxruntime from calling anybody outside
