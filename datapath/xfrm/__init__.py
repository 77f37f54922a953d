"""The kernel's IPsec (XFRM) over netlink: its states and policies as Python values, encoded and decoded here.

Only :mod:`datapath.xfrm.channel` has a socket; everything else turns values into bytes and back.
"""
