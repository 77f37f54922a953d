"""The parts of `python -m bench.failover`."""
