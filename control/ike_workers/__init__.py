"""IKEv2 in several processes: what steers datagrams to them, what they and the daemon tell each other.

Still without input or output; the processes themselves are made by :mod:`control.daemon`.
"""
