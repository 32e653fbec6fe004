"""Zero-shot evaluation of a model on labelled clips, with the runtime's windows and prompts."""
