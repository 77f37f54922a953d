"""The control plane of homeagent: protocol engines, services around them, and the daemon."""
