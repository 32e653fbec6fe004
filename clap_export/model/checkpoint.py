"""What a loader returns, whatever the family."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from clap_export.model.clap import ClapModel
from runtime.manifest import Finding, Source


@dataclass(frozen=True)
class Checkpoint:
    """A model in evaluation mode with everything that export needs.

    Attributes:
        model: weights loaded, ``eval()``, float32, on the CPU.
        tokenizer: content of a ``tokenizers`` JSON file.
        source: where it came from.
        findings: what loading it showed that its owner should know.
    """

    model: ClapModel
    tokenizer: str
    source: Source
    findings: tuple[Finding, ...] = ()

    def space_id(self) -> str:
        """Hash of what defines the space: architecture, preprocessing, tokenizer and weights.

        The name, licence, default prompt and calibration may change without moving an embedding,
        so they stay out; so does the logit scale.
        """
        config = self.model.config.to_dict()
        for key in ("name", "licence", "default_template", "calibration"):
            del config[key]
        for part, name in ((config, "bridge"), (config["audio_encoder"], "yamnet")):
            if part[name] is None:  # they came later, too
                del part[name]
        # Fields that came later count where they differ from what was computed before them.
        htsat = config["audio_encoder"]["htsat"] or {}
        for key, before in (("layer_norm_eps", 1e-5), ("activation", "gelu")):
            if htsat.get(key) == before:
                del htsat[key]
        cnn14 = config["audio_encoder"]["cnn14"] or {}
        if cnn14.get("patch_frames", 0) is None:
            del cnn14["patch_frames"]
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        digest.update(hashlib.sha256(self.tokenizer.encode()).digest())
        for name, tensor in sorted(self.model.state_dict().items()):
            if name == "logit_scale":
                continue
            array = tensor.detach().contiguous().numpy()
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]
