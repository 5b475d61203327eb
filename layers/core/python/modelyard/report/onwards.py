"""What to do about a run that ended before the gate could decide: commands that can be typed."""

from modelyard.pages.markup import paragraph, plain
from modelyard.pages.words import cut, say
from modelyard.report.document import Document
from modelyard.report.verdict import verdict_of

STATES = {
    "claim": "Claim the trigger",
    "validate": "Validate the data",
    "turn": "Take a turn",
    "prepare": "Prepare the data",
    "train": "Train the candidates",
    "evaluate": "Evaluate against the champion",
    "register": "Register the version",
    "promote": "Make it the champion",
}
"""The functions of the steps, and what the workflow calls its states."""


def html(document: Document) -> str:
    """The section."""
    name, run_id = cut(document.model, 60) or "NAME", cut(document.run_id, 128) or "RUN_ID"
    if verdict_of(document).word == "Failed":
        return _after_a_failure(document.step, name, run_id)
    if document.step == "validate":
        told = "The file joined no data set. Correct it and upload it again; that starts a run of its own:"
        return _said(told) + _typed(f"modelyard upload {name} FILE.csv")
    return ""


def _after_a_failure(step: str, name: str, run_id: str) -> str:
    logs = f"modelyard logs {name} --step {step if step in STATES else 'all'}"
    looked = _said("Look at the states of the run, and at what was logged:")
    looked += _typed(f"modelyard runs {name} --run {run_id}", logs)
    if not step:
        told = "Another run learns from all files of the data set. Upload the file again if it is not among them:"
        return looked + _said(told) + _typed(f"modelyard dataset {name}", f"modelyard train {name} --watch")
    told = "Once the cause is gone, the run goes on from the step that failed; what was done is not done again:"
    return looked + _said(told) + _typed(f"modelyard train {name} --redrive {run_id} --watch")


def step_of(document: Document) -> str:
    """The state that ended the run; nothing where the document does not say."""
    return STATES.get(document.step, cut(document.step, 60))


def _said(text: str) -> str:
    return paragraph(say("{}", text))


def _typed(*lines: str) -> str:
    shown = "\n".join(map(plain, lines))
    return f"<pre><code>{shown}</code></pre>"
