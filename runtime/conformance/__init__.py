"""The reader of conformance kits in Python: ``python -m runtime.conformance``.

A kit (docs/conformance.md) holds questions to a reader of bundles, and what this runtime answers.
The program takes one question a line and answers one line each; :mod:`runtime.conformance.tasks`
says what the questions are, :mod:`runtime.conformance.wire` how arrays travel.
"""
