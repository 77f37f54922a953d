"""The daemon: the one place where engine, sockets, store, data path and metrics are put together."""

from __future__ import annotations

from control.daemon.service import serve

__all__ = ["serve"]
