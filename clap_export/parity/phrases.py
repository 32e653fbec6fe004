"""Texts that show a text encoder's activations: what people ask a CLAP for, short and long."""

from __future__ import annotations

_THINGS = (
    "a dog barking", "heavy rain on a tin roof", "sea waves", "a crying baby", "a ticking clock",
    "a person sneezing", "a helicopter", "a chainsaw", "a rooster", "a crackling fire",
    "an ambulance siren", "a car horn", "church bells", "an idling engine", "violin music",
    "a man giving a speech", "footsteps on gravel", "applause", "silence", "glass breaking",
    "a door knock", "thunder", "a jackhammer", "children playing", "an air conditioner",
    "a gun shot", "frogs and crickets at night", "a cat meowing", "typing on a keyboard",
    "a vacuum cleaner", "snoring", "water being poured", "an electric guitar solo with distortion",
    "a sad woman singing a cappella", "birdsong in a forest",
    "two people talk while a train passes and a bird sings in the distance",
)  # fmt: skip
PHRASES = tuple(
    template.format(thing)
    for i, thing in enumerate(_THINGS)
    for template in (("{}", "This is a sound of {}.")[i % 2], "{}.")
)
