"""A library: the embeddings of many recordings in a folder of Parquet files, and search in it.

The reader owns the format, as with bundles: ``description`` is ``library.json``, ``columns`` the
schema of a part, ``part`` opens one. :mod:`clap_export.library` writes them. pyarrow is imported by
the call that needs it, and DuckDB by a filter in SQL.
"""
