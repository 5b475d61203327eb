"""Lambda layers, built on the developer's machine without Docker and without AWS.

::

    plan       models + environments -> which layers for which target        targets.py
    inputs     lock file or sources  -> a digest; equal digest, no work      sources.py
    install    uv, wheels of the target's platform, every hash checked       install.py     (network)
    prune      what no function reads goes, by one table with reasons        pruning.py
    compile    bytecode by an interpreter of the target's version            bytecode.py
    archive    sorted names, fixed times and modes: equal bytes              archive.py
    commit     zip, then manifest, each by one rename                        manifest.py
    fit        every function's set against Lambda's limit                   fit.py

``build`` runs the whole of it; ``find_layer`` only reads what is there, so that synth makes no network call. Nothing
here runs in Lambda: the core layer leaves this folder out.
"""

from modelyard.packaging.builder import build, find_layer
from modelyard.packaging.fit import check_fit
from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.targets import layers_of, model_layer

__all__ = ["LayerManifest", "build", "check_fit", "find_layer", "layers_of", "model_layer"]
