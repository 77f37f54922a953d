"""The processes around mobile nodes: the agent of one node in earnest, and the simulator of thousands."""
