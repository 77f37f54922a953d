"""What home agents know together: leases that say who lives, the nodes and bindings of each, and who may claim them."""
