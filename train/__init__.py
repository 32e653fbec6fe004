"""Train CLAP models that will be deployed, with the runtime's own preprocessing and windows."""
