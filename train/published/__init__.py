"""The evaluation of the CLAP paper: 16 tasks of 8 domains, retrieval, and supervised set-ups."""
