"""What the files of a bundle say of each other: a graph takes what the manifest promises."""

from __future__ import annotations

from runtime.errors import BundleError
from runtime.manifest import Graph, Manifest
from runtime.onnx_file import OnnxGraph


def check_shapes(manifest: Manifest, graph: Graph, found: OnnxGraph, largest_id: int = 0) -> None:
    """Refuse a graph that does not take what the manifest promises.

    Args:
        manifest: of the bundle.
        graph: the audio graph or the text graph.
        found: what its file holds.
        largest_id: of a token that it may be given.

    Raises:
        BundleError: its windows have another length, or its table has no row for a token.
    """
    samples = found.inputs.get("waveform", (None, None))[1:]
    wanted = manifest.audio.window_samples
    if graph == manifest.audio_graph and samples not in ((None,), (wanted,)):
        raise BundleError(
            f"'{graph.file}' takes windows of {samples[0] if samples else 0} samples, the manifest "
            f"says {wanted}. Export the bundle again."
        )
    rows = found.rows("input_ids")
    if rows is not None and largest_id >= rows:
        raise BundleError(
            f"the tokenizer gives ids up to {largest_id}, '{graph.file}' embeds {rows} tokens: "
            "they are of different models. Export the bundle again."
        )
