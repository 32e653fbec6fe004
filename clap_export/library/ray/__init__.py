"""Libraries made on a cluster, by Ray Data; docs/scale.md says how."""

from __future__ import annotations

from clap_export.library.ray.cluster import Workers as Workers
from clap_export.library.ray.spread import embed as embed
from clap_export.library.ray.spread import embedded as embedded
