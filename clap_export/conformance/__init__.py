"""Conformance kits: what a reader of bundles is asked, what this runtime answers, and a judge."""
