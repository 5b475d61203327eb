"""The report of a retraining run: everything that the evaluation document says, as one page.

::

    document ─ read ─► Document ─┬─ gate, scores, rows, columns, tried, answers, service, origin ─► page
     (JSON)        (typed, what it lacks left out)      (a section each: text, tables, pictures)

The rule: nothing is computed that the document does not say, but for what a picture needs, and nothing is required:
a document of an older release, of refused data or of a run that broke off shows what it has. The words, the colours and
the file around it are those of every page (`modelyard.pages`). It runs in Lambda and on a developer's machine alike.
"""

from modelyard.report.document import Document, Verdict, read
from modelyard.report.page import page
from modelyard.report_key import page_key

__all__ = ["Document", "Verdict", "page", "page_key", "read"]
