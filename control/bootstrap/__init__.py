"""Bringing the nodes of a failed home agent back: one job for each, started by a scheduler, and their addresses."""
