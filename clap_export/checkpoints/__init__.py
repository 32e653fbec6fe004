"""Checkpoints of every family, loaded into the one model."""

from clap_export.checkpoints.families import Family as Family
from clap_export.checkpoints.families import load as load
from clap_export.model.checkpoint import Checkpoint as Checkpoint
