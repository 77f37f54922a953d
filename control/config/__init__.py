"""The configuration file: its keys, its reading with errors that name file, line, key and remedy, and its nodes."""

from __future__ import annotations

from control.config.load import load_configuration
from control.config.nodes import Node, load_nodes
from control.config.problems import ConfigurationError, Problem
from control.config.schema import Configuration
from control.config.values import ListenAddress

__all__ = [
    "Configuration",
    "ConfigurationError",
    "ListenAddress",
    "Node",
    "Problem",
    "load_configuration",
    "load_nodes",
]
