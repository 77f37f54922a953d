"""A Debian kernel in QEMU, for what the kernel of this machine cannot do: ESP above all."""
