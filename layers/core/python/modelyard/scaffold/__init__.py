"""From a CSV or an ONNX file to the folder of a model: what ``modelyard init`` writes.

The stages, in order. All but the last are functions of their arguments::

    naming.py    a file's name → a model's name
    columns.py   a column's texts → what it is to the model, or why it is left out
    trained.py   a CSV → target, task, metric, candidates, checked by the trainer's own reader
    brought.py   an ONNX file's signature → task and a first request
    render.py    either → the text of model.toml
    folder.py    files → models/<name>/, whole or not at all

The rule: nothing is guessed silently. What was chosen is written into ``model.toml`` with the reason, what was left out
stays there as a comment, and the result is accepted by the same code that will read it.
"""

from modelyard.scaffold.brought import from_onnx
from modelyard.scaffold.draft import Draft
from modelyard.scaffold.folder import check_free, write_folder
from modelyard.scaffold.naming import model_name
from modelyard.scaffold.trained import LARGEST_CSV, from_csv

__all__ = ["LARGEST_CSV", "Draft", "check_free", "from_csv", "from_onnx", "model_name", "write_folder"]
