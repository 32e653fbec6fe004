"""Checkpoints of every family, loaded into the one model."""

from clap_export.checkpoints.checkpoint import Checkpoint as Checkpoint
from clap_export.checkpoints.detect import load as load
