"""Checkpoints of every family, loaded into the one model."""

from clap_export.checkpoints.detect import Family as Family
from clap_export.checkpoints.detect import load as load
from clap_export.model.checkpoint import Checkpoint as Checkpoint
