"""The best value so far of the figure that a run is judged by, and how long it has been so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Gain:
    """Sees a figure at every validation.

    Attributes:
        figure: its name in the records; None for a run that is not judged.
        value: the best one so far.
        epoch: that it is of, counted from 1.
        waited: measurements since then.
    """

    figure: str | None
    value: float | None = None
    epoch: int = 0
    waited: int = 0

    def see(self, value: float, epoch: int) -> bool:
        """Whether this value is better than all before it: lower for a loss, else higher."""
        lower = self.figure is not None and self.figure.split(" ")[-1] == "loss"
        if self.value is None or (value < self.value if lower else value > self.value):
            self.value, self.epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    def over(self, patience: int | None) -> bool:
        """Whether so many measurements in a row were no gain."""
        return patience is not None and self.waited >= patience
