"""The steps of a retraining run, one function each; the workflow in ``stacks/retraining_stack.py`` calls them in order.

::

    claim      the upload is new, and this run works on it                 steps.claim_upload
    validate   its rows fit the plan; it joins the model's data set        steps.validate_upload
    train      every candidate, on all rows but those held out             training_step.train_candidates
    evaluate   ONNX against framework, challenger against champion         verdict_steps.evaluate_challenger
    register   bytes, then the version                                     verdict_steps.register_challenger
    promote    the version is live                                         verdict_steps.promote_challenger
    conclude   why there is no new version                                 steps.conclude_run

The workflow repeats a step whose answer was lost, so each step, called again with the same input, gives the same
answer and leaves no second record. (Training alone may find more files by then, and learns from those too.)

What the steps share: ``workbench`` (what they work with), ``dataset`` (which files are learnt from), ``bounds`` (how
much they say).
"""
