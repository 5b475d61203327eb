"""Lambda layers, built on the developer's machine without Docker and without AWS.

::

    plan       models + environments -> which layers for which target        targets.py
    solve      locks                 -> which package lies in which layer    solver.py, locks.py
    inputs     lock or sources       -> a digest; equal digest, no work      sources.py
    install    uv, wheels of the target's platform, every hash checked       install.py     (network)
    native     layers/native         -> our own operations, where a compiler is  native.py
    prune      what no function reads goes, by one table with reasons        pruning.py, elf.py
    compile    bytecode by an interpreter of the target's version            bytecode.py, linking.py
    archive    sorted names, fixed times and modes: equal bytes              archive.py
    commit     zip, then manifest, each by one rename                        manifest.py
    fit        every function's set against Lambda's limit                   fit.py, report.py
    try        what each function imports, from its layers alone             imports.py

The code of each function in ``functions/`` takes the same way. ``assembly.py`` is the way of one of them,
``builder.py`` of all. ``build`` runs the whole of it; ``find_layer`` only reads what is there, so that synth makes no
network call. Nothing here runs in Lambda: the core layer leaves this folder out.
"""

from modelyard.packaging.builder import Built, build, find_layer
from modelyard.packaging.manifest import LayerManifest, lock_digest
from modelyard.packaging.sources import training_code_digest
from modelyard.packaging.targets import endpoint_of, function_asset, layers_of, model_layer, training_libraries

__all__ = [
    "Built",
    "LayerManifest",
    "build",
    "endpoint_of",
    "find_layer",
    "function_asset",
    "layers_of",
    "lock_digest",
    "model_layer",
    "training_code_digest",
    "training_libraries",
]
