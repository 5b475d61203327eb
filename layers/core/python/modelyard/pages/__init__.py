"""What every page that we write for people has in common: its words, its document, its colours, its scales.

`modelyard.card` and `modelyard.report` are made of it. The rule: a page is one file, runs no script, fetches nothing,
and what came from outside is escaped where it is put in.
"""
