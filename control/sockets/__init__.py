"""The sockets and devices of the control plane: the only place that talks to the kernel's network directly."""
