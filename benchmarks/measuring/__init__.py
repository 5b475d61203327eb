"""What the benchmarks of the endpoint share: how they are called, what they run, and how they show what they found.

script.py     --quick and --json, the machine, claims; one `Result` per script
layers.py     the built layers, unpacked once, and an interpreter that has nothing else
rivals.py     the other frameworks, from a lock with hashes, with bytecode and without
workload.py   the model, its contract and pointer, the events
bucket.py     a stand-in for S3 in a process of its own
table.py      Markdown
picture.py    SVG
"""
