"""The cases of a kit, a file for each kind of question."""
