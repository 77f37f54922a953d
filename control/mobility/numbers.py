"""Code points and protocol constants of Mobile IPv6.

Numbers are IANA's; names and sections are those of RFC 6275 unless said otherwise.
"""

from __future__ import annotations

from enum import IntEnum

MOBILITY_HEADER_PROTOCOL = 135
"""IPv6 Next Header value of the Mobility Header (section 6.1.1)."""

NO_NEXT_HEADER = 59
"""The only Payload Proto value allowed in a Mobility Header (section 9.2)."""

LIFETIME_UNIT_S = 4
"""Seconds per unit of every lifetime and refresh interval field (section 6.1.7)."""

MAX_LIFETIME_UNITS = 0xFFFF
"""Largest lifetime the 16-bit field can hold: a little over three days."""

INITIAL_BINDACK_TIMEOUT_S = 1.0
"""First retransmission interval of a Binding Update when a binding exists (section 12)."""

INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S = 1.5
"""The same for a first registration: leaves the home agent time for duplicate address detection (section 13)."""

MAX_BINDACK_TIMEOUT_S = 32.0
"""Ceiling of the doubling retransmission interval (section 12)."""

MAX_UPDATE_RATE = 3
"""Binding Updates a node may send to one peer within a second (section 12)."""

MAX_DELETE_BINDING_TIMEOUT_S = 10.0
"""How long the sequence number of a de-registered binding is remembered (MAX_DELETE_BCE_TIMEOUT, section 12)."""


class MobilityHeaderType(IntEnum):
    """MH Type: which message a Mobility Header carries (section 6.1, RFC 5142 section 4)."""

    BINDING_REFRESH_REQUEST = 0
    HOME_TEST_INIT = 1
    CARE_OF_TEST_INIT = 2
    HOME_TEST = 3
    CARE_OF_TEST = 4
    BINDING_UPDATE = 5
    BINDING_ACKNOWLEDGEMENT = 6
    BINDING_ERROR = 7
    HOME_AGENT_SWITCH = 12


class MobilityOptionType(IntEnum):
    """Mobility option types (section 6.2, RFC 3963 section 4.3, RFC 4283 section 3, RFC 5026 section 8.1)."""

    PAD1 = 0
    PADN = 1
    BINDING_REFRESH_ADVICE = 2
    ALTERNATE_CARE_OF_ADDRESS = 3
    NONCE_INDICES = 4
    BINDING_AUTHORIZATION_DATA = 5
    MOBILE_NETWORK_PREFIX = 6
    MOBILE_NODE_IDENTIFIER = 8
    DNS_UPDATE = 17
