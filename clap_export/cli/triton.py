"""The verb ``triton``: a bundle or a tagger as a model repository.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE

if TYPE_CHECKING:
    from clap_export.triton.config import ModelConfig
    from clap_export.triton.models import Wanted
    from runtime import LabelBank
    from runtime.bundle import Bundle


@dataclass(frozen=True)
class TritonRequest:
    """What was asked of ``triton``; see the command's options.

    Attributes:
        source: a bundle, or a tagger (.onnx).
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`; or None.
        form: or None for what the source has.
    """

    source: Path
    out: Path
    labels: str | None
    templates: tuple[str, ...]
    scores: str | None
    form: Any
    provider: str
    max_batch: int | None
    instances: int | None
    windows: str | None
    public_key: Path | None

    def wanted(self, engines: bool) -> Wanted:
        """The same for who writes."""
        from clap_export.triton.models import Wanted

        return Wanted(
            self.form or ("tensorrt" if engines else "onnx"), self.provider, self.max_batch,
            self.instances, self.scores or "softmax", self.templates, self.windows,
        )  # fmt: skip


@click.command()
@click.argument("source", metavar="BUNDLE", type=PATH)
@click.option("--out", type=PATH, required=True, help="Model repository to make, a folder.")
@click.option(
    "--labels",
    help="What classify knows without being told: names between commas, or a file as for "
    "classify.  [default: labels come with each request]",
)
@options.template_option
@click.option(
    "--scores", type=click.Choice(["softmax", "cosine", "multilabel"]),
    help="What the scores are.  [default: softmax]",
)  # fmt: skip
@click.option(
    "--form",
    type=click.Choice(["onnx", "tensorrt", "python"]),
    help="What runs the audio graph: Triton's ONNX Runtime or TensorRT, or the runtime in its "
    "Python backend.  [default: tensorrt of a bundle with engines, else onnx]",
)
@click.option(
    "--provider", type=click.Choice(["cpu", "openvino", "cuda", "tensorrt"]), default="cpu",
    show_default=True, help="Where the runtime runs what is in the Python backend.",
)  # fmt: skip
@click.option(
    "--max-batch", type=click.IntRange(1, 1 << 16),
    help="Most windows of a run.  [default: the engine's, else 16]",
)  # fmt: skip
@click.option(
    "--instances", type=click.IntRange(1, 1024),
    help="How often a model is loaded; on a CPU each has one thread then.  [default: 1]",
)  # fmt: skip
@click.option("--windows", metavar="NAME", help="Policy, as for classify.")
@options.public_key_option
def triton(**given: Any) -> int:
    """Write BUNDLE, or a tagger (.onnx, see freeze), as a model repository for NVIDIA's Triton.

    Models of a bundle: audio (windows to embeddings), text (texts to embeddings) and classify
    (recordings of any length and labels to scores). Of a tagger: tagger alone.
    """
    request = TritonRequest(**given)
    from clap_export.triton import repository

    repository.check_free(request.out)
    make = _of_tagger if request.source.suffix == ".onnx" else _of_bundle
    for config in make(request):
        terminal.say(f"{request.out / config.name}: {config.backend}, {config.max_batch} rows")
    terminal.say(f"how to start it: {request.out / 'README.md'}")
    return DONE


def _of_bundle(request: TritonRequest) -> tuple[ModelConfig, ...]:
    from clap_export.triton import models, repository
    from runtime.bundle import Bundle

    bundle = Bundle(request.source, public_key=request.public_key)
    engines = bundle.manifest.engines
    wanted = request.wanted(engines is not None)
    built = engines.audio if engines and _uses_engines(wanted) else None
    made = models.of_bundle(bundle, _bank(request, bundle), wanted)
    said = "" if built is None else f"{built.library} {built.version}"
    return repository.write(made, request.out, said)


def _of_tagger(request: TritonRequest) -> tuple[ModelConfig, ...]:
    from clap_export.triton import models, repository
    from runtime.tagger_file import TaggerFile

    typed = {"--labels": request.labels, "--template": request.templates,
             "--scores": request.scores, "--public-key": request.public_key}  # fmt: skip
    wrong = [name for name, value in typed.items() if value]
    if wrong:
        raise click.UsageError(f"{wrong[0]} is the tagger's own: freeze it anew.")
    engine = request.form == "tensorrt" or request.provider == "tensorrt"
    tagger = TaggerFile(request.source, engine=engine or request.form is None)
    engines = tagger.manifest.engines
    wanted = request.wanted(engines is not None)
    if wanted.form != "python" and wanted.windows:
        raise click.UsageError("--windows needs --form python: other forms take single windows.")
    built = engines.audio if engines and _uses_engines(wanted) else None
    said = "" if built is None else f"{built.library} {built.version}"
    return repository.write(models.of_tagger(tagger, wanted), request.out, said)


def _uses_engines(wanted: Wanted) -> bool:
    return "tensorrt" in (wanted.form, wanted.provider)


def _bank(request: TritonRequest, bundle: Bundle) -> LabelBank | None:
    from clap_export.cli.classify import labels_of
    from runtime import Encoder, LabelBank
    from runtime.errors import LabelError

    if request.labels is None:
        return None
    labels = labels_of(request.labels)
    if not isinstance(labels, LabelBank):
        # On the CPU: this machine need not be the one that serves.
        with Encoder(bundle, providers=("cpu",)) as encoder:
            return LabelBank.build(encoder, labels, request.templates or None)
    if request.templates:
        raise LabelError("--template does not apply to a saved bank: build it with them.")
    return labels
