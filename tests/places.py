"""Where things lie: the project, what tests read beside it, and the shipped model."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "goldens"
RECIPES = ROOT / "train" / "recipes"
SHARED_AUDIO = ROOT.parent / "shared" / "audio"
MINI = ROOT / "models" / "clap-mini.safetensors"
