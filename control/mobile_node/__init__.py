"""The mobile node's side, without I/O: one node, and a simulation of thousands in a network of its own."""
