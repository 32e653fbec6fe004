"""Libraries are made here: recordings of any number to Parquet parts that :mod:`runtime.library`
reads and searches."""
