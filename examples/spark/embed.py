"""Embeddings of the recordings that a table names, by Spark: spark-submit embed.py"""

from pyspark.sql import SparkSession

SCHEMA = "path string, sha256 string, duration double, error string, embedding array<float>"


def embedded(frames):
    """Tables with a column ``path`` to tables of SCHEMA; in workers of Spark."""
    import pandas

    from clap_export.library import hearing, item
    from runtime import Encoder

    with Encoder("/data/bundle", threads=1) as encoder:
        schedule = hearing.schedule(encoder, 1, batch_size=None, decode_threads=1)
        for frame in frames:
            items = map(item.Item.of, frame["path"])
            rows = hearing.rows(encoder, items, schedule, each_window=False, passed=lambda _: False)
            cells = [{**row.cells(), "embedding": row.embedding} for row in rows]
            names = [column.split()[0] for column in SCHEMA.split(", ")]
            yield pandas.DataFrame(cells, columns=names)


spark = SparkSession.builder.getOrCreate()
paths = spark.read.csv("/data/list.csv", header=True).select("path").repartition(64)
paths.mapInPandas(embedded, SCHEMA).write.parquet("/data/embeddings")
