"""Mobility options: what may follow the fixed part of a mobility message (RFC 6275 section 6.2)."""

from __future__ import annotations

from control.mobility.options.alternate_care_of_address import AlternateCareOfAddress
from control.mobility.options.binding_authorization_data import BindingAuthorizationData
from control.mobility.options.binding_refresh_advice import BindingRefreshAdvice
from control.mobility.options.codec import MobilityOption, encode_options, find_option, read_options
from control.mobility.options.dns_update import DnsUpdate, DnsUpdateStatus
from control.mobility.options.mobile_network_prefix import MobileNetworkPrefix
from control.mobility.options.mobile_node_identifier import MobileNodeIdentifier, MobileNodeIdentifierSubtype
from control.mobility.options.nonce_indices import NonceIndices
from control.mobility.options.unknown import UnknownMobilityOption

__all__ = [
    "AlternateCareOfAddress",
    "BindingAuthorizationData",
    "BindingRefreshAdvice",
    "DnsUpdate",
    "DnsUpdateStatus",
    "MobileNetworkPrefix",
    "MobileNodeIdentifier",
    "MobileNodeIdentifierSubtype",
    "MobilityOption",
    "NonceIndices",
    "UnknownMobilityOption",
    "encode_options",
    "find_option",
    "read_options",
]
