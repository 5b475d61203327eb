"""What becomes of a challenger that meets traffic.

The rule: what decides is a pure function of what was captured (`verdict`), so that a rollout, a replay in CI and a test
come to the same decision from the same records.

::

    answers.py, observations.py    captured records and labels → columns
    slicing.py                     what the champion's first answers freeze
    sequential.py, shift.py        intervals that hold at every look; how far distributions are apart
    losses.py, judging.py, checks/ what is looked at → Check
    causes.py                      what is wrong with a challenger, as a code and a sentence
    verdict.py                     all of that → Verdict
"""
