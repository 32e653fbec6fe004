"""The log-mel frontend: forms of its graph in ONNX Runtime and OpenVINO beside torch.stft and mel.

    OMP_WAIT_POLICY=passive python benchmarks/cpu/frontend.py benchmarks/cpu/frontend.md

Each form has turns in three rounds with its engine alone open. Error is the largest difference in
decibels to torch's float64 STFT, over bins within 60 dB of a clip's peak.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from clap_export.bench.timing import interleave
from clap_export.model import dft
from clap_export.model.mel import LogMel
from runtime.audio_spec import Mel
from runtime.backends import open_backend
from runtime.errors import BackendError

ROUNDS, WARM_UPS, RUNS = 3, 3, 12
MANY = 16  # clips
BASE = "torch.stft and mel"
MELS = {
    "LAION: 10 s, 48 kHz, hop 480": (
        Mel(48_000, 1024, 480, 64, 50.0, 14_000.0, "slaney", "slaney", 1e-10), 480_000),
    "CLAP 2022: 5 s, 44.1 kHz, hop 320": (
        Mel(44_100, 1024, 320, 64, 50.0, 8000.0, "slaney", "slaney", 1e-10), 220_500),
    "clap-mini: 5 s, 24 kHz, hop 480": (
        Mel(24_000, 1024, 480, 64, 50.0, 11_500.0, "slaney", "slaney", 1e-8), 120_000),
    "a hop that shares no divisor with the DFT: 5 s, 44.1 kHz, hop 441": (
        Mel(44_100, 1024, 441, 64, 50.0, 14_000.0, "slaney", "slaney", 1e-10), 220_500),
}  # fmt: skip
HEAD = """# The log-mel frontend on a CPU

    OMP_WAIT_POLICY=passive python benchmarks/cpu/frontend.py benchmarks/cpu/frontend.md

{cores} threads, torch {torch}, ONNX Runtime {onnxruntime}, OpenVINO {openvino}, numpy {numpy};
medians of {runs} runs in {rounds} rounds, each form's engine alone open, and how many times torch's
that is. The exported form is the one marked (ours): of the DFT's divisors the one nearest to its
square root is the number of columns. Error is against a float64 STFT, within 60 dB of the peak.
"""


class Stft(nn.Module):
    """torch.stft and a product with the filterbank; as a graph, ONNX's STFT operation."""

    def __init__(self, mel: Mel) -> None:
        super().__init__()
        self.mel = LogMel(mel)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log-mel."""
        config, mel = self.mel.config, self.mel
        found = torch.stft(
            waveform, config.n_fft, config.hop_length, window=mel.window.to(waveform.dtype),
            return_complex=True, pad_mode="reflect",
        )  # fmt: skip
        if torch.compiler.is_exporting():
            power = torch.view_as_real(found).square().sum(dim=-1)  # complex values cannot export
        else:
            power = found.real.square() + found.imag.square()  # the quicker of the two
        bank = mel.filterbank.to(waveform.dtype)
        return 10 * torch.log10((bank.T @ power).clamp(min=config.amin)).transpose(1, 2)


class Convolution(nn.Module):
    """The DFT as one convolution, a filter for each bin's real and imaginary part."""

    filters: torch.Tensor

    def __init__(self, mel: Mel) -> None:
        super().__init__()
        self.mel = LogMel(mel)
        n = torch.arange(mel.n_fft, dtype=torch.float64)
        self.used = self.mel.filterbank.sum(dim=1).nonzero().flatten()
        angle = 2 * torch.pi / mel.n_fft * torch.outer(self.used.double(), n)
        waves = torch.cat([angle.cos(), -angle.sin()]) * self.mel.window.double()
        self.register_buffer("filters", waves.float().unsqueeze(1), persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log-mel."""
        config = self.mel.config
        half = config.n_fft // 2
        padded = F.pad(waveform.unsqueeze(1), (half, half), mode="reflect")
        found = F.conv1d(padded, self.filters, stride=config.hop_length).square()
        power = found[:, : len(self.used)] + found[:, len(self.used) :]
        mel = self.mel.filterbank[self.used].T @ power
        return 10 * torch.log10(mel.clamp(min=config.amin)).transpose(1, 2)


def two_stage(mel: Mel, columns: int) -> LogMel:
    """Our frontend, split at so many columns."""
    made = LogMel(mel)
    with mock.patch.object(dft, "split", return_value=columns):
        made.use_graph()
    return made


def forms_of(mel: Mel) -> dict[str, nn.Module]:
    """All that is measured, by name."""
    forms: dict[str, nn.Module] = {BASE: Stft(mel), "one convolution": Convolution(mel)}
    for columns in (16, 32, 64):
        ours = " (ours)" * (columns == dft.split(mel.n_fft))
        forms[f"two-stage, {columns} columns{ours}"] = two_stage(mel, columns)
    forms["ONNX STFT operation"] = Stft(mel)
    return forms


def graph(module: nn.Module, waveform: torch.Tensor) -> bytes:
    """As an ONNX file's content."""
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.onnx.export(
        module.eval(), (waveform,), dynamo=True, opset_version=18, input_names=["waveform"],
        dynamic_shapes=shapes, verbose=False,
    )  # fmt: skip
    file = io.BytesIO()
    assert program is not None
    program.save(file)
    return file.getvalue()


def times(run: Callable[[], object]) -> list[float]:
    """Milliseconds of each run."""
    (seconds,) = interleave([run], RUNS, WARM_UPS)
    return [1e3 * s for s in seconds]


def by_torch(module: nn.Module, batch: torch.Tensor) -> list[float]:
    """Milliseconds of each run in PyTorch."""
    with torch.inference_mode():
        return times(lambda: module(batch))


def by_engine(content: bytes, provider: str, batch: NDArray[np.float32]) -> list[float]:
    """Milliseconds of each run of a graph, in an engine that is opened for it; none where the
    engine cannot read the graph."""
    try:
        engine = open_backend(content, (provider,))
    except BackendError:
        return []
    try:
        return times(lambda: engine.run({"waveform": batch}))
    finally:
        engine.close()


def table(mel: Mel, samples: int) -> str:
    """One configuration, as Markdown."""
    made = np.random.default_rng(0).standard_normal((MANY, samples)) * 0.1
    waveforms = torch.from_numpy(made.astype(np.float32))
    forms = forms_of(mel)
    graphs = {name: graph(form, waveforms[:2]) for name, form in forms.items() if name != BASE}
    found: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for count in (1, MANY):
            batch = waveforms[:count]
            found.setdefault((BASE, "", count), []).extend(by_torch(forms[BASE], batch))
            for name, content in graphs.items():
                for provider in ("cpu", "openvino"):
                    taken = by_engine(content, provider, batch.numpy())
                    found.setdefault((name, provider, count), []).extend(taken)
    want = Stft(mel)(waveforms[:2].double())
    loud = want > want.amax(dim=(1, 2), keepdim=True) - 60
    lines = [
        f"| form | ONNX Runtime, one clip | {MANY} clips "
        f"| OpenVINO, one clip | {MANY} clips | error |",
        "|---|---|---|---|---|---|",
    ]
    base = {count: float(np.median(found[BASE, "", count])) for count in (1, MANY)}
    for name, form in forms.items():
        with torch.no_grad():
            error = (form(waveforms[:2]) - want).abs()[loud].max().item()
        cells = []
        for provider in ("cpu", "openvino"):
            for count in (1, MANY):
                where = "" if name == BASE and provider == "cpu" else provider
                taken = found.get((name, where, count), [])
                ms = float(np.median(taken)) if taken else 0.0
                cells.append(f"{ms:.2f} ms, {ms / base[count]:.2f}" if taken else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {error:.1e} dB |")
    return "\n".join(lines)


def main(out: Path) -> None:
    """Write a table for each mel configuration."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    parts = [
        HEAD.format(
            cores=torch.get_num_threads(), runs=ROUNDS * RUNS, rounds=ROUNDS,
            **{name: version(name) for name in ("torch", "onnxruntime", "openvino", "numpy")},
        )
    ]  # fmt: skip
    for title, (mel, samples) in MELS.items():
        parts.append(f"### {title}\n\n{table(mel, samples)}\n")
    out.write_text("\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
