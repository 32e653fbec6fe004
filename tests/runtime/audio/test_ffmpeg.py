"""Formats that libsndfile does not know, through the ffmpeg program."""

from __future__ import annotations

import io
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime import audio
from runtime.audio import ffmpeg
from runtime.errors import AudioError
from tests.runtime.audio.encoded import (
    PROGRAM,
    RATE,
    alike,
    encode,
    mono,
    needs_ffmpeg,
    sound,
    wav,
)

pytestmark = needs_ffmpeg
SILENT = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=1")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ("-c:a", "alac")), ("a.mkv", ("-c:a", "pcm_s16le")), ("a.mka", ("-c:a", "flac")),
        ("a.wv", ()), ("a.tta", ()), ("a.mov", ("-c:a", "pcm_s16be")),
        ("a.avi", ("-c:a", "pcm_s16le")),
    ],
)  # fmt: skip
def test_without_loss_every_sample_is_there(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    found = audio.read(encode(tmp_path, name, *options))
    assert (found.rate, found.warning) == (RATE, None)
    assert np.array_equal(found.samples, mono(sound()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ()), ("a.m4a", ("-movflags", "+faststart")), ("a.aac", ()), ("a.mp4", ()),
        ("a.3gp", ("-c:a", "aac")), ("a.wma", ()), ("a.ac3", ()), ("a.mka", ("-c:a", "libvorbis")),
        ("a.ts", ("-c:a", "aac")), ("a.webm", ("-c:a", "libopus", "-ar", "48000")),
    ],
)  # fmt: skip
def test_with_loss_it_is_the_same_sound(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    found = audio.read(encode(tmp_path, name, *options), rate=RATE)
    wanted = mono(sound())
    assert found.warning is None
    assert abs(len(found.samples) - len(wanted)) < 0.08 * RATE
    assert alike(found.samples, wanted, slack=4096) > 0.95


def test_amr() -> None:
    found = audio.read(b"#!AMR\n" + 100 * (b"\x04" + bytes(12)))  # frames of 20 ms, 4.75 kbit/s
    assert (found.rate, len(found.samples)) == (8_000, 16_000)


@pytest.mark.parametrize("rate", [8_000, 22_050, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels_are_the_files_own(tmp_path: Path, rate: int, channels: int) -> None:
    samples = sound(channels, 0.5)
    found = audio.read(encode(tmp_path, "a.mkv", "-c:a", "pcm_s16le", samples=samples, rate=rate))
    assert found.rate == rate
    np.testing.assert_allclose(found.samples, mono(samples), atol=1e-6)


def test_the_sound_track_of_a_film_and_a_song_with_a_cover(tmp_path: Path) -> None:
    film = encode(tmp_path, "film.mp4", *SILENT, "-c:a", "alac", "-strict", "-2")
    other = encode(tmp_path, "song.mkv", "-c:a", "pcm_s16le")
    for path in (film, other):
        found = audio.read(path)
        assert found.warning is None  # a picture may last longer
        assert np.array_equal(found.samples, mono(sound()))


def test_a_film_without_sound_and_a_picture(tmp_path: Path) -> None:
    for name in ("film.mp4", "picture.png"):
        path = tmp_path / name
        command = [str(PROGRAM), "-nostdin", "-loglevel", "error", *SILENT, "-frames:v", "1"]
        subprocess.run([*command, str(path)], check=True)
        with pytest.raises(AudioError, match=r"ffmpeg: it (holds no sound|is of a format without)"):
            audio.read(path)


def test_a_recording_may_come_as_anything(tmp_path: Path) -> None:
    path = encode(tmp_path, "a.m4a", "-c:a", "alac")  # with its index behind the samples
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        sources = (str(path), data, bytearray(data), io.BytesIO(data), file, raw)
        for source in sources:
            assert np.array_equal(audio.read(source).samples, mono(sound()))
    behind = io.BytesIO(b"something before it" + data)
    behind.seek(19)
    assert np.array_equal(audio.read(behind).samples, mono(sound()))


@pytest.mark.parametrize(
    "name",
    [
        "-i", "-version", "http:x", "concat:a|b", "pipe:0", "fd:0", "data:text", "%03d", "a*b",
        "file:b", "line\nbreak", "a b;c", "'", '"', "subfile,,start,0,end,9,,:x", "~", "$HOME",
    ],
)  # fmt: skip
def test_no_name_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data = encode(tmp_path, "a.m4a", "-c:a", "alac").read_bytes()
    (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(audio.read(name).samples, mono(sound()))


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    data = encode(tmp_path, "a.tta").read_bytes()
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.tta")
    Path(os.fsdecode(path)).write_bytes(data)
    assert np.array_equal(audio.read(os.fsdecode(path)).samples, mono(sound()))


# Files that name other files


def lists(other: Path, address: str) -> dict[str, str]:
    """Files of text that players read as pointers to ``other``, or to an address."""
    return {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nfile://{other}\n#EXT-X-ENDLIST\n",
        "b.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{address}\n#EXT-X-ENDLIST\n",
        "a.m3u": f"{other}\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile '{other}'\n",
        "b.ffconcat": f"ffconcat version 1.0\nfile '{address}'\n",
        "a.pls": f"[playlist]\nFile1={other}\n",
        "a.asx": f"[Reference]\nRef1={address}\n",
        "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="audio/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{address}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=audio 50040 RTP/AVP 0\n",
        "a.avs": f'DirectShowSource("{other}")\n',
    }


def test_playlists_and_scripts_open_nothing_else(tmp_path: Path) -> None:
    other = encode(tmp_path, "other.aac")
    assert len(audio.read(other).samples) > RATE  # it could be read
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.aac"
        for number, (name, text) in enumerate(lists(other, address).items()):
            path = tmp_path / (name if number % 2 else f"{name}.wav")
            path.write_text(text)
            with pytest.raises(AudioError, match="cannot be decoded"):
                audio.read(path)
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()


def test_addresses_are_no_recordings() -> None:
    for source in ("http://127.0.0.1:9/a.m4a", "rtsp://127.0.0.1/a", "concat:a.wav|b.wav"):
        with pytest.raises(AudioError, match="does not exist"):
            audio.read(source)


def test_an_address_of_another_protocol_is_no_stream() -> None:
    for url in ("file:///etc/passwd", "/etc/passwd", "-i", "rtsp:x", "http://x"):
        with pytest.raises(AudioError, match="begin it with rtsp:// or rtp://"):
            ffmpeg.stream(url, ("rtsp", "rtp"))
    assert ffmpeg.stream("RTSP://camera/1", ("rtsp",)).protocols == ("rtsp",)


# Damage


def test_a_sound_that_changes_its_rate_is_used_at_the_first(tmp_path: Path) -> None:
    one = encode(tmp_path, "a.aac").read_bytes()
    samples = sound()[: RATE // 2, :1]
    other = encode(tmp_path, "b.aac", samples=samples, rate=22_050).read_bytes()
    found = audio.read(one + other)
    assert found.rate == RATE
    assert abs(len(found.samples) - 4 * RATE) < 0.15 * RATE
    assert "changes from 44100 Hz, stereo, to 22050 Hz, mono" in (found.warning or "")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.aac", ()), ("a.mka", ("-c:a", "pcm_s16le")), ("a.wma", ()), ("a.tta", ()), ("a.wv", ()),
        ("a.m4a", ("-c:a", "alac", "-movflags", "+faststart")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["cut", "hole"])
def test_what_is_left_of_a_file_is_used_and_said(
    tmp_path: Path, name: str, options: tuple[str, ...], how: str
) -> None:
    data = bytearray(encode(tmp_path, name, *options).read_bytes())
    middle = len(data) // 2
    if how == "cut":
        del data[middle:]
    elif name == "a.mka":
        pytest.skip("its samples have no check sum")
    else:
        data[middle : middle + 2000] = bytes(2000)
    found = audio.read(bytes(data))
    assert "may not be whole" in (found.warning or "")
    assert len(found.samples) > 0.25 * len(sound())
    begin = int(0.25 * len(sound()))
    # Some encoders begin later: those samples have nothing to be compared with.
    assert alike(found.samples[:begin], mono(sound())[:begin], slack=4096) > 0.9


def test_an_m4a_that_was_cut_before_its_index(tmp_path: Path) -> None:
    data = encode(tmp_path, "a.m4a").read_bytes()
    with pytest.raises(AudioError, match=r"ffmpeg: moov atom not found.*corrupt, truncated"):
        audio.read(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["noise", "zeros", "program"])
def test_what_is_no_sound_is_not_made_one(kind: str) -> None:
    data = {
        "noise": np.random.default_rng(1).bytes(300_000),
        "zeros": bytes(300_000),
        "program": Path(str(PROGRAM)).read_bytes()[:1_000_000],
    }[kind]
    with pytest.raises(AudioError, match=r"cannot be decoded \(libsndfile: .*; ffmpeg: "):
        audio.read(data)


# Where libsndfile gives up in the middle


def test_a_flac_with_a_hole_goes_on_behind_it() -> None:
    data = bytearray(wav(sound(), format="FLAC"))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    found, wanted = audio.read(bytes(data)), mono(sound())
    missing = len(wanted) - len(found.samples)
    assert 0 < missing <= 3 * 4096
    assert missing % 4096 == 0  # whole frames of the file
    different = np.flatnonzero(found.samples != wanted[: len(found.samples)])
    hole = int(different[0])  # up to here nothing is lost, and behind it nothing is doubled
    assert 0.4 * len(wanted) < hole < 0.6 * len(wanted)
    assert np.array_equal(found.samples[hole + 4096 :], wanted[hole + 4096 + missing :])
    assert "some of it is damaged" in (found.warning or "")


def test_a_flac_that_was_cut_has_no_more_than_libsndfile_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = wav(sound(), format="FLAC")[:150_000]
    found = audio.read(data)
    monkeypatch.setattr(ffmpeg, "program", lambda: None)
    alone = audio.read(data)
    assert np.array_equal(found.samples, alone.samples)
    assert "states 3.0 s" in (found.warning or "")
    assert "ffmpeg program, which is not installed, may give more" in (alone.warning or "")


def test_files_that_were_joined_of_which_one_has_a_hole() -> None:
    whole = wav(sound(), format="FLAC")
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    found = audio.read(whole + bytes(broken) + whole)
    assert np.array_equal(found.samples[: len(sound())], mono(sound()))
    assert np.array_equal(found.samples[-len(sound()) :], mono(sound()))
    assert 2.9 * len(sound()) < len(found.samples) < 3 * len(sound())


def test_one_sentence_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path, "a.m4a")
    monkeypatch.setattr(ffmpeg, "program", lambda: None)
    with pytest.raises(AudioError) as error:
        audio.read(path)
    assert str(error.value) == (
        f"'{path}' cannot be decoded (Format not recognised): it is corrupt, truncated or of a "
        "format that needs the ffmpeg program, which is not installed. Install it (pip install "
        "'clap-export[ffmpeg]', or the system's ffmpeg), or convert the file to WAV or FLAC."
    )


def test_no_program_is_started_for_text_or_a_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*args: object, **more: object) -> None:
        raise AssertionError("started")

    monkeypatch.setattr("runtime.audio.ffmpeg_track.Track", started)
    for data in (b"\x01\x02\xff", b"just some text\n" * 1000):
        with pytest.raises(AudioError, match="cannot be decoded"):
            audio.read(data)
