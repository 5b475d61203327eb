"""Training from configuration alone: CSV files and a plan in, one ONNX file and what its gate needs out.

The stages, in order, and what each may import::

    plan.py       the workflow's JSON, typed                          msgspec
    records.py    bytes → rows of text, or what is wrong with them    standard library
    table.py      rows → typed columns, or findings in words          numpy
    split.py      which rows no version ever trains on                standard library
    dates.py      a date → its place in the year                      numpy
    pipeline.py   plan and candidate → a scikit-learn pipeline        scikit-learn
    search.py     cross-validation → the leaderboard                  scikit-learn
    export.py     fitted pipeline → ONNX                              skl2onnx
    trainer.py    all of it

The first four run where scikit-learn is not: an upload is validated on the serving layer. No stage runs the ONNX file:
the training layer has no onnxruntime (together they do not fit into Lambda's 250 MB), so `modelyard.evaluation`
compares it in a step of its own.
"""
