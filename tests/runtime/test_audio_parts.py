"""What files hold behind what their headers say: joined, cut, unfinished and tagged ones."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import audio
from runtime.audio import mpeg
from runtime.errors import AudioError
from tests.places import ROOT

RATE = 44_100
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE).astype(np.float32)


def encode(samples: np.ndarray, rate: int = RATE, **how: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **how})
    return file.getvalue()


def tag(size: int) -> bytes:
    """An ID3v2 tag of zeros."""
    seven = [size >> shift & 127 for shift in (21, 14, 7, 0)]
    return b"ID3\4\0\0" + bytes(seven) + bytes(size)


def with_size(data: bytes, name: bytes, size: int, order: str = "<I") -> bytes:
    """A file of chunks that states another size for one of them."""
    at = data.find(name) + 4
    return data[:at] + struct.pack(order, size) + data[at + 4 :]


def without_info(mp3: bytes) -> bytes:
    """An MP3 whose Info frame was cut off."""
    frame = mpeg.parse(mp3[:4])
    assert frame is not None
    return mp3[frame.size :]


# Formats that libsndfile reads only by a stated number of frames


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("WAV", "NMS_ADPCM_24"),
        ("WAV", "NMS_ADPCM_32"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("AU", "G723_24"),
        ("AU", "G723_40"), ("AU", "G721_32"), ("AIFF", "GSM610"), ("W64", "GSM610"),
        ("XI", "DPCM_8"), ("XI", "DPCM_16"),
    ],
)  # fmt: skip
def test_formats_that_cannot_seek(kind: str, subtype: str) -> None:
    tone = 0.5 * np.sin(np.arange(8_000) * 2 * np.pi * 440 / 8_000)
    found = audio.read(encode(tone, 8_000, format=kind, subtype=subtype))
    assert found.warning is None
    assert 8_000 <= len(found.samples) <= 8_320  # some codecs fill their last block
    # The tone is there: the codecs are lossy, and XI states no rate of ours.
    spectrum = np.abs(np.fft.rfft(found.samples[:8_000]))
    assert int(np.argmax(spectrum)) == 440


# MP3


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_an_info_frame_has_all_its_frames(rate: int, channels: int) -> None:
    # Quiet, then loud: a decoder that goes by the first frame's bit rate is far off.
    samples = np.concatenate([np.zeros(rate), NOISE[:rate], np.zeros(rate)])
    data = encode(
        np.stack([samples] * channels, axis=1), rate,
        format="MP3", bitrate_mode="VARIABLE", compression_level=0.9,
    )  # fmt: skip
    whole = audio.read(data)
    assert (len(whole.samples), whole.warning) == (3 * rate, None)
    bare = audio.read(without_info(data))
    assert bare.warning is None
    # The frames' own delay stays: up to three frames of 1152 samples.
    assert 3 * rate <= len(bare.samples) <= 3 * rate + 3 * 1152
    loud = np.flatnonzero(np.abs(bare.samples) > 0.2)
    assert rate <= loud[0] <= rate + 3 * 1152
    assert loud[-1] - loud[0] == pytest.approx(rate, abs=1152)


def test_mp3s_that_were_joined(tmp_path: Path) -> None:
    one = encode(NOISE, format="MP3")
    alone = audio.read(one).samples
    path = tmp_path / "joined.mp3"
    path.write_bytes(one + one + tag(3000) + one + b"TAG" + bytes(125))
    found = audio.read(path)
    assert found.warning is None
    assert np.array_equal(found.samples, np.tile(alone, 3))
    bare = audio.read(one + without_info(one))  # one Info frame that knows of the first alone
    assert 2 * len(alone) <= len(bare.samples) <= 2 * len(alone) + 5 * 1152
    assert np.array_equal(bare.samples[: len(alone) - 1152], alone[:-1152])


def test_an_mp3_joined_to_one_of_another_rate_and_in_stereo() -> None:
    other = encode(np.stack([NOISE[:16_000]] * 2, axis=1), 16_000, format="MP3")
    found = audio.read(encode(NOISE, format="MP3") + other)
    assert found.rate == RATE
    assert len(found.samples) == 4 * RATE
    assert np.abs(found.samples[3 * RATE + 1000 : -1000]).max() > 0.3


def test_junk_between_frames_is_passed_over_and_said() -> None:
    one = encode(NOISE, format="MP3")
    found = audio.read(one + b"junk" * 5000 + one)
    assert len(found.samples) == 2 * len(NOISE)
    assert "20000 bytes of it are no frames" in (found.warning or "")


def test_mpg123_has_nothing_to_warn_of(tmp_path: Path) -> None:
    one = encode(NOISE, format="MP3")
    for i, data in enumerate((one + one, one[: len(one) // 2], without_info(one))):
        (tmp_path / f"{i}.mp3").write_bytes(data)
    code = (
        "import sys, warnings; from runtime import audio\n"
        "warnings.simplefilter('ignore')\n"
        "for path in sys.argv[1:]: audio.load(path)"
    )
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""  # it writes straight to the process's stderr


# Ogg


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_a_chain_of_ogg(codec: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = [rng.uniform(-0.5, 0.5, n).astype(np.float32) for n in (96_000, 48_000, 72_000)]
    made = [encode(part, 48_000, format="OGG", subtype=codec) for part in parts]
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(made))
    found = audio.read(path)
    assert found.warning is None
    assert np.array_equal(found.samples, np.concatenate([audio.read(m).samples for m in made]))
    assert len(found.samples) == 216_000


def test_ogg_without_its_end_is_said_also_inside_a_chain() -> None:
    one = encode(NOISE, format="OGG")
    cut = one[: len(one) * 2 // 3]
    first = audio.read(cut)
    assert "ends without its last page" in (first.warning or "")
    assert len(NOISE) // 2 < len(first.samples) < len(NOISE)
    both = audio.read(cut + one)
    assert "ends without its last page" in (both.warning or "")
    assert np.array_equal(both.samples[-len(NOISE) :], audio.read(one).samples)
    assert len(both.samples) >= len(NOISE) + len(first.samples)
    assert audio.read(one + bytes(3000)).warning is None  # padding is no damage


# FLAC


def flac_stating(data: bytes, total: int) -> bytes:
    value = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + value.to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize("total", [0, 1, RATE, 1 << 35])
def test_a_flac_has_the_length_that_it_has(total: int) -> None:
    data = encode(NOISE, format="FLAC")
    found = audio.read(flac_stating(data, total))
    assert found.warning is None  # these lengths are none, or cannot be: or less than is there
    assert np.array_equal(found.samples, audio.read(data).samples)


def test_a_flac_that_could_be_longer_is_said_to_be_cut() -> None:
    found = audio.read(flac_stating(encode(NOISE, format="FLAC"), 6 * RATE))
    assert len(found.samples) == 3 * RATE
    assert "states 6.0 s, and 3.0 s could be decoded" in (found.warning or "")


def test_flacs_that_were_joined() -> None:
    one = encode(NOISE, format="FLAC")
    samples = audio.read(one).samples
    assert np.array_equal(audio.read(one + one).samples, np.tile(samples, 2))


def test_a_flac_with_a_hole_is_read_up_to_it_without_ffmpeg(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.audio.ffmpeg.program", lambda: None)
    data = bytearray(encode(NOISE, format="FLAC"))
    whole = audio.read(bytes(data)).samples
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    found = audio.read(bytes(data))
    assert np.array_equal(found.samples, whole[: len(found.samples)])
    assert 0.4 * len(whole) < len(found.samples) < 0.5 * len(whole)
    assert "cannot be decoded to its end" in (found.warning or "")


# WAV and AIFF


WAV = encode(NOISE, subtype="PCM_16")
AIFF = encode(NOISE, format="AIFF", subtype="PCM_16")


@pytest.mark.parametrize("size", [0, 1000, 44_101, len(WAV) // 2])
def test_a_wav_whose_header_was_not_completed(size: int, tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    path.write_bytes(with_size(WAV, b"data", size))
    found = audio.read(path)
    assert np.array_equal(found.samples, audio.read(WAV).samples)
    assert f"states {size} bytes of samples" in (found.warning or "")


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_FFFF])
def test_a_wav_from_a_pipe_does_not_know_its_length(size: int) -> None:
    found = audio.read(with_size(WAV, b"data", size))
    assert np.array_equal(found.samples, audio.read(WAV).samples)
    assert found.warning is None


@pytest.mark.parametrize("size", [0, 8, 1000])
def test_an_aiff_whose_header_was_not_completed(size: int) -> None:
    found = audio.read(with_size(AIFF, b"SSND", size, ">I"))
    assert np.array_equal(found.samples, audio.read(AIFF).samples)
    assert found.warning is not None


def test_chunks_behind_the_samples_are_none() -> None:
    notes = b"LIST" + struct.pack("<I", 4) + b"INFO" + b"odd " + struct.pack("<I", 3) + b"abc\0"
    for data in (WAV + notes, WAV + b"TAG" + bytes(125), WAV + b"\0"):
        found = audio.read(data)
        assert (len(found.samples), found.warning) == (len(NOISE), None)
    empty = with_size(WAV[:44], b"data", 0)
    for data in (empty, empty + notes):
        with pytest.raises(AudioError, match="0 samples"):
            audio.read(data)


# RF64, W64, AU and 8SVX


RF64, W64, SUN, NEXT, IFF = (
    encode(NOISE, format=kind, subtype="PCM_16", **more)
    for kind, more in [
        ("RF64", {}), ("W64", {}), ("AU", {"endian": "BIG"}), ("AU", {"endian": "LITTLE"}),
        ("SVX", {}),
    ]
)  # fmt: skip
LENGTHS = {  # of the samples: place and type, and what the number counts besides
    "RF64": (RF64, RF64.find(b"ds64") + 16, "<Q", 0),
    "W64": (W64, W64.find(b"data") + 16, "<Q", 24),
    "AU": (SUN, 8, ">I", 0),
    "NeXT": (NEXT, 8, "<I", 0),
    "8SVX": (IFF, IFF.find(b"BODY") + 4, ">I", 0),
}


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("size", [0, 1000, len(NOISE)])
def test_other_headers_that_were_not_completed(kind: str, size: int, tmp_path: Path) -> None:
    data, at, code, added = LENGTHS[kind]
    size += added
    path = tmp_path / "killed"
    path.write_bytes(data[:at] + struct.pack(code, size) + data[at + struct.calcsize(code) :])
    for source in (path, path.read_bytes()):
        found = audio.read(source)
        assert np.array_equal(found.samples, audio.read(WAV).samples)
        assert f"states {size - added} bytes of samples, and all" in (found.warning or "")


@pytest.mark.parametrize("kind", LENGTHS)
def test_other_files_that_were_cut_are_said_to_be(kind: str, tmp_path: Path) -> None:
    data = LENGTHS[kind][0]
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) // 2])
    for source in (path, path.read_bytes()):
        found = audio.read(source)
        assert np.array_equal(found.samples, audio.read(WAV).samples[: len(found.samples)])
        assert abs(len(found.samples) - len(NOISE) // 2) < 100
        assert f"states {2 * len(NOISE)} bytes of samples and" in (found.warning or "")
    assert audio.read(data).warning is None


@pytest.mark.parametrize("kind", ["RF64", "W64", "AU", "NeXT"])
def test_other_files_from_a_pipe_do_not_know_their_length(kind: str) -> None:
    data, at, code, _ = LENGTHS[kind]
    ones = b"\xff" * struct.calcsize(code)
    found = audio.read(data[:at] + ones + data[at + len(ones) :])
    assert np.array_equal(found.samples, audio.read(WAV).samples)
    assert found.warning is None


def test_libsndfile_may_ask_for_any_place(capfd: pytest.CaptureFixture[str]) -> None:
    for place in (16, W64.find(b"fmt ") + 16):
        for size in (1 << 63, (1 << 64) - 1, (1 << 63) - 1):
            with contextlib.suppress(AudioError):
                audio.read(W64[:place] + struct.pack("<Q", size) + W64[place + 8 :])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [WAV, AIFF])
def test_files_of_chunks_that_were_joined(data: bytes) -> None:
    assert np.array_equal(audio.read(data + data).samples, np.tile(audio.read(data).samples, 2))


# Tags in front


@pytest.mark.parametrize("how", [
    {"format": "WAV"}, {"format": "AIFF"}, {"format": "FLAC"}, {"format": "OGG"},
    {"format": "MP3"}, {"format": "AU"}, {"format": "CAF"}, {"format": "W64"},
])  # fmt: skip
def test_a_tag_in_front_of_any_format(how: dict[str, str], tmp_path: Path) -> None:
    data = encode(NOISE, **how)
    plain = audio.read(data).samples
    for size in (0, 300, 500_000):
        path = tmp_path / f"{size}"
        path.write_bytes(tag(size) + tag(7) + data)
        found = audio.read(path)
        assert found.warning is None
        assert np.array_equal(found.samples, plain)


# Sizes are not believed


def peak_mib(code: str, *arguments: str) -> int:
    """Most memory of a process that runs some code."""
    script = (
        f"import resource, sys\n{code}\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    with soundfile.SoundFile(path, "w", 192_000, 8, "PCM_16", format="FLAC") as file:
        for _ in range(2):
            file.write(np.zeros((1_920_000, 8), np.int16))
    assert path.stat().st_size < 40_000
    code = "import soundfile, soxr\nfrom runtime import audio"
    load = f"{code}\naudio.read(sys.argv[1], rate=48_000)"
    # 20 s: 123 MB as 8 channels of floats, 15 MB mixed down, 4 MB at the rate wanted.
    assert peak_mib(load, str(path)) - peak_mib(code, str(path)) < 40


def lying_flac(rate: int, channels: int, total: int) -> bytes:
    data = bytearray(encode(np.zeros(4800, np.float32), 48_000, format="FLAC"))
    value = int.from_bytes(data[18:26], "big") & ((1 << 5) - 1 << 36)  # bits per sample stay
    value |= rate << 44 | channels - 1 << 41 | total
    data[18:26] = value.to_bytes(8, "big")
    return bytes(data)


def test_a_header_cannot_ask_for_memory() -> None:
    audio.read(WAV)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    status = Path("/proc/self/status").read_text()
    vm = next(line for line in status.splitlines() if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (int(vm.split()[1]) * 1024 + (1 << 30), limit[1]))
    try:
        for data in (
            lying_flac(655_350, 8, 655_350 * 3600), lying_flac(48_000, 1, (1 << 36) - 1),
            with_size(WAV, b"data", 0xFFFF_FFFE), with_size(WAV, b"fmt ", 0xFFFF_FFF0),
        ):  # fmt: skip
            with contextlib.suppress(AudioError):
                assert len(audio.read(data).samples) <= 3 * RATE
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def header(channels: int, rate: int, data: bytes) -> bytes:
    block = 2 * channels & 0xFFFF
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFF_FFFF, block, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + (form + b"data" + struct.pack("<I", len(data)) + data)
    )


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (header(1, 2_000_000_000, bytes(4096)), "2000000000 Hz"),
        (header(1, 1, bytes(4096)), "1 Hz"),
        (header(64, 48_000, bytes(64 * 4096)), "64 channels; at most 32"),
        (header(1, 0, bytes(4096)), "0 Hz|cannot be decoded"),
        (header(0, 48_000, bytes(4096)), "cannot be decoded"),
    ],
)
def test_rates_and_channels_are_checked_before_decoding(
    data: bytes, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_decoding(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", no_decoding)
    with pytest.raises(AudioError, match=match):
        audio.read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 3_000_000,
        b"\xff\xfb\x90\x00" + b"\xff\xfb\x90\x01" * 500_000,
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 500_000,
        b"OggS" * 200_000,
        b"fLaC\0\0\0\x22" * 20_000,
        tag(0) * 50_000,
    ],
    ids=["ones", "false frames", "chunks", "pages", "streams", "tags"],
)
def test_nonsense_takes_little_time(data: bytes) -> None:
    import time

    start = time.process_time()
    with pytest.raises(AudioError):
        audio.read(data)
    assert time.process_time() - start < 5


# Blocks


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_size_of_blocks_changes_nothing(
    block: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = np.stack([NOISE[:2000], NOISE[2000:4000]], axis=1)
    files = [
        encode(samples, **how)
        for how in (
            {"subtype": "PCM_16"}, {"subtype": "FLOAT"}, {"format": "FLAC"}, {"format": "OGG"},
            {"format": "MP3"}, {"subtype": "MS_ADPCM"},
        )
    ]  # fmt: skip
    whole = [audio.read(data, rate=48_000).samples for data in files]
    monkeypatch.setattr("runtime.audio.track.BLOCK", block)
    for data, want in zip(files, whole, strict=True):
        assert np.array_equal(audio.read(data, rate=48_000).samples, want)
