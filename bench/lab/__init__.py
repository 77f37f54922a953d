"""A laboratory of network namespaces: routed core, home agents, mobile nodes, captures, probes.

Everything a run makes carries the run's name, so that it is removed at the end and, should the run be killed
before that, by the next run.
"""
