"""The only place that talks to AWS. This file imports nothing: each module brings its own client."""
