"""Write a checkpoint in an original's format, filled with the goldens' generated weights.

python benchmarks/originals/checkpoint.py NAME OUT

OUT is a file; for transformers and transformers-fused it is a folder, of HTSAT-tiny's shape.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.generated import checkpoints

if __name__ == "__main__":
    name, out = sys.argv[1:]
    if name.startswith("transformers"):
        checkpoints.clap_model(Path(out), fused=name.endswith("-fused"))
    else:
        torch.save(checkpoints.wrapped(name, checkpoints.state_dict(checkpoints.golden(name))), out)
