"""`homeagent doctor`: what on this machine is as a home agent needs it, what is not, and how to mend it."""

from control.cli.doctor.command import doctor

__all__ = ["doctor"]
