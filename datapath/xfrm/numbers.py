"""Code points of netlink and of ``<linux/xfrm.h>``; a test holds them against the header."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class NetlinkType(IntEnum):
    """Messages of netlink itself (``NLMSG_``)."""

    NOOP = 1
    ERROR = 2
    DONE = 3
    OVERRUN = 4


class NetlinkFlag(IntFlag):
    """Flags of a message (``NLM_F_``)."""

    REQUEST = 0x1
    MULTI = 0x2
    ACK = 0x4
    DUMP_INTR = 0x10
    DUMP = 0x300


class MessageType(IntEnum):
    """Messages of XFRM (``XFRM_MSG_``)."""

    NEWSA = 0x10
    DELSA = 0x11
    GETSA = 0x12
    NEWPOLICY = 0x13
    DELPOLICY = 0x14
    GETPOLICY = 0x15
    ALLOCSPI = 0x16
    ACQUIRE = 0x17
    EXPIRE = 0x18
    UPDPOLICY = 0x19
    UPDSA = 0x1A


class Group(IntEnum):
    """What the kernel tells whoever listens (``XFRMNLGRP_``)."""

    ACQUIRE = 1
    EXPIRE = 2


class AttributeType(IntEnum):
    """Attributes of messages (``XFRMA_``)."""

    ALG_CRYPT = 2
    ENCAP = 4
    TMPL = 5
    ALG_AEAD = 18
    ALG_AUTH_TRUNC = 20
    REPLAY_ESN_VAL = 23
    SA_EXTRA_FLAGS = 24
    SET_MARK = 29


class ExtraFlag(IntFlag):
    """Further properties of a state (``XFRM_SA_XFLAG_``)."""

    OSEQ_MAY_WRAP = 2


class Direction(IntEnum):
    """Which packets a policy is about (``XFRM_POLICY_``)."""

    IN = 0
    OUT = 1
    FWD = 2


class Mode(IntEnum):
    """What ESP is around (``XFRM_MODE_``)."""

    TRANSPORT = 0
    TUNNEL = 1


class Action(IntEnum):
    """What a policy does (``XFRM_POLICY_``)."""

    ALLOW = 0
    BLOCK = 1


PROTOCOL_ESP = 50
ENCAPSULATION_ESP_IN_UDP = 2
"""``UDP_ENCAP_ESPINUDP`` of ``<linux/udp.h>``."""
FAMILY_INET6 = 10
"""``AF_INET6``."""
NETLINK_XFRM = 6
"""The netlink protocol."""
EVERY_ALGORITHM = 0xFFFF_FFFF
NO_LIMIT = 0xFFFF_FFFF_FFFF_FFFF
"""``XFRM_INF``: a lifetime without end."""
