"""What all command lines share: how a command ends, and what reaches a terminal."""
