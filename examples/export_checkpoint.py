"""Export a checkpoint and verify the bundle, from Python: cell by cell, as in a notebook.

python examples/export_checkpoint.py CHECKPOINT OUT
"""

# %% What to export, and where to.
from __future__ import annotations

import sys
from pathlib import Path

from clap_export.checkpoints import load
from clap_export.export.pack import write_bundle
from clap_export.parity.checkpoint import verify

source, out = Path(sys.argv[1]), Path(sys.argv[2])

# %% Read the checkpoint; the family is told by its content.
checkpoint = load(source)
config = checkpoint.model.config
print(f"{config.name}: windows of {config.audio.window_samples / config.audio.sample_rate:g} s")

# %% Write the bundle: two ONNX graphs and a manifest.
write_bundle(checkpoint, out)

# %% Compare it with the checkpoint, through the runtime.
parity = verify(out, checkpoint)
for check in parity.checks:
    print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.value:.2e} {check.unit}")
assert parity.passed
