"""From a tagger and a text encoder to a CLAP."""
