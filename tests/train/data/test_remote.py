"""Shards that are compressed or elsewhere give the clips of the plain ones."""

from __future__ import annotations

import gzip
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ClapError
from tests import tiny
from tests.train.data.test_folders import shards
from train.config.data import ListingConfig
from train.data.clips import ClipStore
from train.data.listing import Clip, read_listing


def said(clips: list[Clip]) -> list[tuple[object, ...]]:
    return [(clip.captions, clip.label, clip.member) for clip in clips]


def test_compressed_and_remote_shards_give_the_same_clips(tmp_path: Path) -> None:
    import fsspec

    plain = read_listing(ListingConfig(shards(tmp_path), kind="webdataset"))
    cache = str(tmp_path / "cache")
    packed = tmp_path / "packed"
    packed.mkdir()
    memory = fsspec.filesystem("memory")
    for path in sorted(tmp_path.glob("set-*.tar")):
        (packed / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    count = len(list(tmp_path.glob("set-*.tar")))
    numbers = f"{{000..{count - 1:03d}}}"
    spec = tiny.config().audio
    want = ClipStore(plain, spec)
    for pattern in (f"{packed}/set-{numbers}.tar.gz", f"memory://bucket/set-{numbers}.tar"):
        config = ListingConfig(pattern, kind="webdataset", cache=cache)
        clips = read_listing(config)
        assert said(clips) == said(plain)
        found = ClipStore(clips, spec)
        for i in range(len(clips)):
            assert np.array_equal(found.waveform(i), want.waveform(i))
        with pytest.raises(ClapError, match="cache = 'DIR'"):
            read_listing(replace(config, cache=None))
    # A copy is kept: what is gone since then is still read. A local shard that changed is not.
    for path in memory.ls("/bucket", detail=False):
        memory.rm(path)
    assert said(read_listing(config)) == said(plain)
    copies = len(list((tmp_path / "cache").iterdir()))
    assert copies == 2 * count


def test_what_cannot_be_fetched_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"no gzip")
    cache = str(tmp_path / "cache")
    for pattern, message in (
        (str(tmp_path / "a.tar.gz"), "cannot be fetched"),
        (str(tmp_path / "none.tar.xz"), "No such file"),
        ("memory://nowhere/a.tar", "cannot be fetched"),
        ("nothing://nowhere/a.tar", "cannot be fetched .*nothing"),
    ):
        with pytest.raises(ClapError, match=message) as caught:
            read_listing(ListingConfig(pattern, kind="webdataset", cache=cache))
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_shards_of_a_web_server_give_the_same_clips(tmp_path: Path) -> None:
    plain = read_listing(ListingConfig(shards(tmp_path), kind="webdataset"))
    count = len(list(tmp_path.glob("set-*.tar")))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_address[1]}"
        shard = f"set-{{000..{count - 1:03d}}}.tar"
        cache = str(tmp_path / "cache")
        clips = read_listing(ListingConfig(f"{place}/{shard}", kind="webdataset", cache=cache))
        with pytest.raises(ClapError, match="cannot be fetched") as caught:
            read_listing(ListingConfig(f"{place}/none.tar", kind="webdataset", cache=cache))
        server.shutdown()
    assert said(clips) == said(plain)
    assert "\n" not in str(caught.value)
    spec = tiny.config().audio
    want, found = ClipStore(plain, spec), ClipStore(clips, spec)
    for i in range(len(clips)):
        assert np.array_equal(found.waveform(i), want.waveform(i))
