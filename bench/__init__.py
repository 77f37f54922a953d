"""Demonstration, benches and the laboratory of network namespaces they run in."""
