"""Layouts of ``<linux/xfrm.h>`` and ``<linux/netlink.h>``, in host byte order where nothing else is said.

A test compiles the headers and compares sizes. Padding is spelled out, so ``=`` formats are right on 64-bit kernels.
"""

from __future__ import annotations

import struct

from datapath.xfrm.numbers import NO_LIMIT

NETLINK_HEADER = struct.Struct("=IHHII")
"""``nlmsghdr``: length with this header, type, flags, sequence number, port."""
ERROR = struct.Struct("=i")
"""``nlmsgerr.error``: 0 or a negative errno; the header of the request follows."""
ATTRIBUTE = struct.Struct("=HH")
"""``nlattr``: length with this header, type; the value is padded to 4 bytes."""

SELECTOR = struct.Struct("=16s16s2s2s2s2sHBBB3xiI")
"""``xfrm_selector``: destination, source, destination port and mask, source port and mask (network order), family,
prefix lengths of destination and source, protocol, interface, user."""
LIFETIME_LIMITS = struct.Struct("=8Q")
"""``xfrm_lifetime_cfg``: soft and hard bytes, soft and hard packets, soft and hard seconds since added, since used."""
LIFETIME = struct.Struct("=4Q")
"""``xfrm_lifetime_cur``: bytes, packets, added at, first used at (seconds since the epoch)."""
STATE_ID = struct.Struct("=16s4sB3x")
"""``xfrm_id``: destination, SPI (network order), protocol."""
STATE = struct.Struct(f"={SELECTOR.size}s{STATE_ID.size}s16s{LIFETIME_LIMITS.size}s{LIFETIME.size}sIIIIIHBBB7x")
"""``xfrm_usersa_info``: selector, id, source, limits, lifetime, statistics (replay window exceeded, replays, failed
integrity checks), sequence number of an acquire, reqid, family, mode, replay window, flags."""
STATE_KEY = struct.Struct("=16s4sHBx")
"""``xfrm_usersa_id``: destination, SPI (network order), family, protocol."""
POLICY = struct.Struct(f"={SELECTOR.size}s{LIFETIME_LIMITS.size}s{LIFETIME.size}sIIBBBB4x")
"""``xfrm_userpolicy_info``: selector, limits, lifetime, priority, index, direction, action, flags, share."""
EXPIRE = struct.Struct(f"={STATE.size}sB7x")
"""``xfrm_user_expire``: state, whether it is gone."""
SPI_RANGE = struct.Struct(f"={STATE.size}sII")
"""``xfrm_userspi_info``: what the SPI is for, lowest and highest SPI (host order)."""
ACQUIRE = struct.Struct(f"={STATE_ID.size}s16s{SELECTOR.size}s{POLICY.size}s4I")
"""``xfrm_user_acquire``: id without SPI, source, selector of the packet, policy, the algorithms allowed, sequence
number."""
POLICY_KEY = struct.Struct(f"={SELECTOR.size}sIB3x")
"""``xfrm_userpolicy_id``: selector, index, direction."""
TEMPLATE = struct.Struct(f"={STATE_ID.size}sH2x16sIBBBxIII")
"""``xfrm_user_tmpl``: id, family, source, reqid, mode, share, optional, and the integrity, encryption and compression
algorithms allowed."""
ENCAPSULATION = struct.Struct("=H2s2s2x16s")
"""``xfrm_encap_tmpl``: type, source and destination port (network order), original address."""
CIPHER = struct.Struct("=64sI")
"""``xfrm_algo``: name, key length in bits; the key follows."""
ALGORITHM_WITH_CHECK = struct.Struct("=64sII")
"""``xfrm_algo_auth`` and ``xfrm_algo_aead``: name, key length and length of the integrity check value in bits; the key
follows."""
REPLAY = struct.Struct("=6I")
"""``xfrm_replay_state_esn``: words of the bitmap, last sequence sent and received, their upper halves, window; the
bitmap follows."""
EXTRA_FLAGS = struct.Struct("=I")
"""Value of ``XFRMA_SA_EXTRA_FLAGS``."""
MARK_VALUE = struct.Struct("=I")
"""Value of ``XFRMA_SET_MARK``."""

UNLIMITED = LIFETIME_LIMITS.pack(*[NO_LIMIT] * 4, 0, 0, 0, 0)
"""No end: neither by bytes, packets nor time."""
