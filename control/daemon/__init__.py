"""The daemon: the one place where engine, sockets, store, data path and metrics are put together."""
