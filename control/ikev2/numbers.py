"""The code points of IKEv2 (RFC 7296 and the IANA registry "Internet Key Exchange Version 2 Parameters").

Encryption and integrity algorithms (transform types 1 and 3) stand in :mod:`control.ipsec.algorithms`.
Fields of parsed messages hold a member where the value is known and a plain ``int`` where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeVar

_Enumeration = TypeVar("_Enumeration", bound=IntEnum)


def members_by_value(enumeration: type[_Enumeration]) -> Mapping[int, _Enumeration]:
    """The members by number, for ``members.get(value, value)``: an unknown value stays a plain integer."""
    return {member.value: member for member in enumeration}


class ExchangeType(IntEnum):
    """Exchange Type of the IKE header (section 3.1)."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37


class PayloadType(IntEnum):
    """Next Payload (section 3.2)."""

    NONE = 0
    SECURITY_ASSOCIATION = 33
    KEY_EXCHANGE = 34
    IDENTIFICATION_INITIATOR = 35
    IDENTIFICATION_RESPONDER = 36
    CERTIFICATE = 37
    CERTIFICATE_REQUEST = 38
    AUTHENTICATION = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR_ID = 43
    TRAFFIC_SELECTOR_INITIATOR = 44
    TRAFFIC_SELECTOR_RESPONDER = 45
    ENCRYPTED = 46
    CONFIGURATION = 47
    EAP = 48
    ENCRYPTED_FRAGMENT = 53  # RFC 7383


class ProtocolId(IntEnum):
    """Protocol ID of proposals, notifications and deletions (section 3.3.1)."""

    IKE = 1
    AH = 2
    ESP = 3


class TransformType(IntEnum):
    """Transform Type (section 3.3.2)."""

    ENCRYPTION = 1
    PRF = 2
    INTEGRITY = 3
    DIFFIE_HELLMAN = 4
    EXTENDED_SEQUENCE_NUMBERS = 5


class TransformAttributeType(IntEnum):
    """Attribute Type of a transform (section 3.3.5)."""

    KEY_LENGTH = 14


class Prf(IntEnum):
    """Transform type 2, pseudorandom function."""

    HMAC_SHA1 = 2
    HMAC_SHA2_256 = 5
    HMAC_SHA2_384 = 6
    HMAC_SHA2_512 = 7


class DiffieHellmanGroup(IntEnum):
    """Transform type 4, key exchange method; the ECP and curve groups are of RFC 5903 and RFC 8031."""

    NONE = 0
    MODP2048 = 14
    MODP3072 = 15
    MODP4096 = 16
    ECP256 = 19
    ECP384 = 20
    ECP521 = 21
    CURVE25519 = 31
    CURVE448 = 32


class ExtendedSequenceNumbers(IntEnum):
    """Transform type 5."""

    NONE = 0
    USED = 1


class IdentificationType(IntEnum):
    """ID Type (section 3.5)."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11


class CertificateEncoding(IntEnum):
    """Certificate Encoding (section 3.6)."""

    X509_SIGNATURE = 4
    CRL = 7
    X509_ATTRIBUTE = 10
    HASH_AND_URL_X509 = 12
    HASH_AND_URL_BUNDLE = 13


class AuthenticationMethod(IntEnum):
    """Auth Method (section 3.8, RFC 4754, RFC 7427)."""

    RSA = 1
    SHARED_KEY = 2
    DSS = 3
    ECDSA_256 = 9
    ECDSA_384 = 10
    ECDSA_521 = 11
    DIGITAL_SIGNATURE = 14


class HashAlgorithm(IntEnum):
    """What SIGNATURE_HASH_ALGORITHMS lists (RFC 7427 section 7, RFC 8420)."""

    SHA1 = 1
    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5


class TrafficSelectorType(IntEnum):
    """TS Type (section 3.13.1)."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


class ConfigurationType(IntEnum):
    """CFG Type (section 3.15)."""

    REQUEST = 1
    REPLY = 2
    SET = 3
    ACK = 4


class ConfigurationAttributeType(IntEnum):
    """Configuration attribute type (section 3.15.1; RFC 5026 section 8.2 for the home prefix)."""

    INTERNAL_IP4_ADDRESS = 1
    INTERNAL_IP4_NETMASK = 2
    INTERNAL_IP4_DNS = 3
    INTERNAL_IP4_NBNS = 4
    INTERNAL_IP4_DHCP = 6
    APPLICATION_VERSION = 7
    INTERNAL_IP6_ADDRESS = 8
    INTERNAL_IP6_DNS = 10
    INTERNAL_IP6_DHCP = 12
    INTERNAL_IP4_SUBNET = 13
    SUPPORTED_ATTRIBUTES = 14
    INTERNAL_IP6_SUBNET = 15
    MIP6_HOME_PREFIX = 16


class NotifyType(IntEnum):
    """Notify Message Type (section 3.10.1): below 16384 an error, from there on a status."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    UNACCEPTABLE_ADDRESSES = 40  # RFC 4555
    UNEXPECTED_NAT_DETECTED = 41  # RFC 4555
    USE_ASSIGNED_HOA = 42  # RFC 5026
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44

    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    ADDITIONAL_TS_POSSIBLE = 16386
    IPCOMP_SUPPORTED = 16387
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    HTTP_CERT_LOOKUP_SUPPORTED = 16392
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    NON_FIRST_FRAGMENTS_ALSO = 16395
    MOBIKE_SUPPORTED = 16396  # RFC 4555
    ADDITIONAL_IP4_ADDRESS = 16397  # RFC 4555
    ADDITIONAL_IP6_ADDRESS = 16398  # RFC 4555
    NO_ADDITIONAL_ADDRESSES = 16399  # RFC 4555
    UPDATE_SA_ADDRESSES = 16400  # RFC 4555
    COOKIE2 = 16401  # RFC 4555
    NO_NATS_ALLOWED = 16402  # RFC 4555
    MULTIPLE_AUTH_SUPPORTED = 16404  # RFC 4739
    ANOTHER_AUTH_FOLLOWS = 16405  # RFC 4739
    REDIRECT_SUPPORTED = 16406  # RFC 5685
    REDIRECT = 16407  # RFC 5685
    REDIRECTED_FROM = 16408  # RFC 5685
    EAP_ONLY_AUTHENTICATION = 16417  # RFC 5998
    FRAGMENTATION_SUPPORTED = 16430  # RFC 7383
    SIGNATURE_HASH_ALGORITHMS = 16431  # RFC 7427


FIRST_STATUS_NOTIFICATION = 16384
"""Notifications with a type below this number report an error (section 3.10.1)."""
