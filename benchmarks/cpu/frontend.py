"""The log-mel frontend: forms of its graph in ONNX Runtime beside torch.stft with a mel product.

    OMP_WAIT_POLICY=passive python benchmarks/cpu/frontend.py

Each form has turns in three rounds with its session alone open. Error is the largest difference in
decibels to torch's float64 STFT, over bins within 60 dB of a clip's peak.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
from torch import nn

from clap_export.bench.timing import interleave
from clap_export.model import dft
from clap_export.model.mel import LogMel
from runtime.audio_spec import Mel
from runtime.backends import quiet

ROUNDS, WARM_UPS, RUNS = 3, 3, 12
MELS = {
    "LAION: 10 s, 48 kHz, hop 480": (
        Mel(48_000, 1024, 480, 64, 50.0, 14_000.0, "slaney", "slaney", 1e-10), 480_000),
    "CLAP 2022: 5 s, 44.1 kHz, hop 320": (
        Mel(44_100, 1024, 320, 64, 50.0, 8000.0, "slaney", "slaney", 1e-10), 220_500),
    "clap-mini: 5 s, 24 kHz, hop 480": (
        Mel(24_000, 1024, 480, 64, 50.0, 11_500.0, "slaney", "slaney", 1e-8), 120_000),
}  # fmt: skip


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


def two_stage(mel: Mel, columns: int) -> LogMel:
    """Our frontend, split at so many columns."""
    made = LogMel(mel)
    with mock.patch.object(dft, "split", return_value=columns):
        made.use_graph()
    return made


def times(run: Callable[[], object]) -> list[float]:
    """Milliseconds of each run."""
    (seconds,) = interleave([run], RUNS, WARM_UPS)
    return [1e3 * s for s in seconds]


def main() -> None:
    """Print a table for each mel configuration."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for title, (mel, samples) in MELS.items():
        made = np.random.default_rng(0).standard_normal((16, samples)) * 0.1
        waveforms = torch.from_numpy(made.astype(np.float32))
        chosen = dft.split(mel.n_fft, mel.hop_length)
        forms: dict[str, tuple[nn.Module, bytes | None]] = {"torch.stft and mel": (Stft(mel), None)}
        for columns in (1, 8, 16, 32, 64):
            if mel.hop_length % columns == 0:
                module = two_stage(mel, columns)
                name = f"two-stage, {columns} columns" if columns > 1 else "one convolution"
                name += " (ours)" * (columns == chosen)
                forms[name] = (module, graph(module, waveforms[:2]))
        forms["ONNX STFT operation"] = (Stft(mel), graph(Stft(mel), waveforms[:2]))
        want = Stft(mel)(waveforms[:2].double())
        loud = want > want.amax(dim=(1, 2), keepdim=True) - 60
        found: dict[str, list[list[float]]] = {name: [[], []] for name in forms}
        for _ in range(ROUNDS):
            for name, (module, content) in forms.items():
                for i, batch in enumerate((waveforms[:1], waveforms)):
                    if content is None:
                        with torch.inference_mode():
                            found[name][i] += times(lambda m=module, b=batch: m(b))
                        continue
                    session = quiet.onnxruntime().InferenceSession(
                        content, providers=["CPUExecutionProvider"]
                    )
                    feed = {"waveform": batch.numpy()}
                    found[name][i] += times(lambda s=session, f=feed: s.run(None, f))
                    del session
        base = [np.median(x) for x in found["torch.stft and mel"]]
        print(f"### {title}\n")
        print("| form | one clip | times torch | 16 clips | times torch | error |")
        print("|---|---|---|---|---|---|")
        for name, (module, _) in forms.items():
            with torch.no_grad():
                error = (module(waveforms[:2]) - want).abs()[loud].max().item()
            one, many = (float(np.median(x)) for x in found[name])
            print(
                f"| {name} | {one:.2f} ms | {one / base[0]:.2f} | {many:.1f} ms | "
                f"{many / base[1]:.2f} | {error:.1e} dB |"
            )
        print()


if __name__ == "__main__":
    main()
