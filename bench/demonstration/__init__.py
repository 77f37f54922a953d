"""The parts of `python -m bench.demo`."""
