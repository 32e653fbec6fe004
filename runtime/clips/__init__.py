"""From a recording to a clip's embedding: a policy cuts windows, and theirs are pooled."""
