"""The steps of a retraining run, one function each; the workflow in ``stacks/retraining_workflow.py`` calls them.

::

    claim      what started the run is new and for this model              claiming.claim_trigger
    validate   an uploaded file fits the plan; it joins the data set       validating.validate_upload
    turn       no other run of the model trains, and this one may          turn_steps.take_turn
    prepare    which rows are learnt from, and which frozen ones judge     preparing.prepare_rows
    train      every candidate, on the rows to learn from                  training_step.train_candidates
    collect    the same from SageMaker's output                            training_step.collect_output
    evaluate   ONNX against framework, challenger against champion         evaluating.evaluate_challenger
    register   bytes, then the version                                     registering.register_challenger
    promote    the version is live                                         registering.promote_challenger
    conclude   how the run ended otherwise, and why                        concluding.conclude_run

The workflow repeats a step whose answer was lost, so each step, called again with the same input, gives the same
answer and leaves no second record.

What the steps share: ``workbench`` (what they work with), ``dataset`` (which files are learnt from), ``placing`` (where
a training runs), ``working_files`` and ``reports`` (what they leave behind), ``bounds`` (how much they say).
"""
