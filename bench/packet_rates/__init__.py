"""`bench.datapath`: what a packet costs in the data path, beside the floors and the kernel's own forwarding."""
