"""A library of the recordings that a table names, and a dataset of their embeddings, by Ray."""

import ray

from clap_export.library.ray import Workers, embed, embedded

dataset = ray.data.read_parquet("/data/list.parquet")
summary = embed(dataset, "/data/bundle", "/data/library", workers=Workers(encoders=(2, None)))
print(summary.embedded, summary.unchanged, len(summary.failed))

rows = embedded(dataset, "/data/bundle")  # lazy; nothing is looked up in a library
rows.write_parquet("/data/embeddings")  # or write_lance, or anything else that Ray writes
