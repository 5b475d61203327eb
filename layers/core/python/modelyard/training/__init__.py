"""Training: rows and a plan in, one ONNX file and what its evaluation needs out.

The stages, in order, and what each may import::

    plan.py          the workflow's JSON, typed                             msgspec
    records.py       bytes → rows of text, or what is wrong with them       standard library
    rows.py          what a row says, however it is written                 standard library
    table.py         rows → typed columns, or findings in words             numpy
    freezing.py      which rows no version ever trains on                   numpy
    contract.py      what callers of a version may send                     numpy
    job.py           a training as a folder in and a folder out             numpy
    container.py     the same in SageMaker's folders                        numpy
    dates.py         a date → its place in the year                         numpy
    steps.py         dates, missing numbers, categories → numbers           scikit-learn
    text.py          text → words → numbers                                 scikit-learn
    estimators.py    linear models and networks, by the settings of a spec  scikit-learn
    lightgbm_trees.py  LightGBM, where it can be loaded                     scikit-learn
    pipeline.py      plan and candidate → a scikit-learn pipeline           scikit-learn
    spaces.py        plan → the settings that are tried, in order           scikit-learn
    folds.py         which rows are scored by which models                  scikit-learn
    racing.py        who is clearly worse                                   scikit-learn
    search.py        cross-validation → the leaderboard                     scikit-learn
    leaderboard.py   its lines, and why the first one won                   scikit-learn
    converters.py    our own steps and LightGBM's trees → ONNX              skl2onnx
    export.py        fitted pipeline → ONNX                                 skl2onnx
    entry.py         a model's own training code, and whether it can be served  onnx
    notebook.py      the same as a notebook                                 papermill
    trainer.py       all of it

The first eight run where scikit-learn is not: an upload is validated on the serving layer. No stage runs the ONNX file:
the training layer has no onnxruntime (together they do not fit into Lambda's 250 MB), so `modelyard.evaluation`
compares it in a step of its own.
"""
