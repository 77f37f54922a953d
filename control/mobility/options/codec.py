"""Reading and writing the option area of a mobility message (RFC 6275 section 6.2.1).

Padding (Pad1, PadN) is no option of its own here: the reader skips it and the writer puts in what the alignment of
each option and the end of the message ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeVar

from control.mobility.numbers import MobilityOptionType
from control.mobility.options.alternate_care_of_address import AlternateCareOfAddress
from control.mobility.options.binding_authorization_data import BindingAuthorizationData
from control.mobility.options.binding_refresh_advice import BindingRefreshAdvice
from control.mobility.options.dns_update import DnsUpdate
from control.mobility.options.mobile_network_prefix import MobileNetworkPrefix
from control.mobility.options.mobile_node_identifier import MobileNodeIdentifier
from control.mobility.options.nonce_indices import NonceIndices
from control.mobility.options.unknown import UnknownMobilityOption
from control.wire import WireError, Writer

_KnownOption: TypeAlias = (
    AlternateCareOfAddress
    | BindingAuthorizationData
    | BindingRefreshAdvice
    | DnsUpdate
    | MobileNetworkPrefix
    | MobileNodeIdentifier
    | NonceIndices
)
MobilityOption: TypeAlias = _KnownOption | UnknownMobilityOption

_OptionT = TypeVar("_OptionT")

_PAD1, _PADN = int(MobilityOptionType.PAD1), int(MobilityOptionType.PADN)
_AUTHORIZATION = int(MobilityOptionType.BINDING_AUTHORIZATION_DATA)
_BLOCK = 8
"""A Mobility Header is a multiple of this many octets long."""
# By number of octets: nothing, Pad1, or PadN.
_PADDING = (b"", bytes((_PAD1,)), *(bytes((_PADN, size)) + bytes(size) for size in range(_BLOCK - 2)))

_KNOWN_OPTIONS: dict[int, type[_KnownOption]] = {
    option.option_type: option
    for option in (
        AlternateCareOfAddress,
        BindingAuthorizationData,
        BindingRefreshAdvice,
        DnsUpdate,
        MobileNetworkPrefix,
        MobileNodeIdentifier,
        NonceIndices,
    )
}


def find_option(options: Iterable[MobilityOption], wanted: type[_OptionT]) -> _OptionT | None:
    """The first option of a class, None if there is none."""
    for option in options:
        if isinstance(option, wanted):
            return option
    return None


def read_options(data: bytes, offset: int) -> tuple[MobilityOption, ...]:
    """The options from ``offset`` to the end of a message, without the padding.

    Raises:
        WireError: an option overruns the message or has the wrong length, or something follows a Binding
            Authorization Data option (``authorization-not-last``).
    """
    options: list[MobilityOption] = []
    size = len(data)
    while offset < size:
        option_type = data[offset]
        if option_type == _PAD1:
            offset += 1
            continue
        start = offset + 2
        offset = start + data[offset + 1] if start <= size else start
        if offset > size:
            raise WireError("truncated", f"mobility option {option_type}")
        if option_type == _PADN:
            continue
        known = _KNOWN_OPTIONS.get(option_type)
        if known is None:
            options.append(UnknownMobilityOption(option_type, data[start:offset]))
        elif offset - start in known.data_sizes:
            options.append(known.read_data(data[start:offset]))
        else:
            raise WireError("bad-option-length", f"mobility option {option_type} of {offset - start} bytes")
        if option_type == _AUTHORIZATION and offset < size:
            raise WireError("authorization-not-last", f"{size - offset} bytes follow")
    return tuple(options)


def encode_options(options: Sequence[MobilityOption], start: int) -> bytes:
    """The options, aligned, and padding to a multiple of eight octets.

    Args:
        options: in order.
        start: where they begin, counted from the first octet of the Mobility Header as alignment is.

    Raises:
        WireError: an option is too long, or follows a Binding Authorization Data option.
    """
    if not options:
        return _PADDING[-start % _BLOCK]
    writer = Writer()
    authorized = False
    for option in options:
        if authorized:
            raise WireError("authorization-not-last", f"mobility option {option.option_type} follows")
        multiple, remainder = option.alignment
        writer.put(_PADDING[(remainder - start - len(writer)) % multiple])
        writer.u8(option.option_type)
        length_at = len(writer)
        writer.u8(0)
        option.write_data(writer)
        writer.patch_u8(length_at, len(writer) - length_at - 1)
        authorized = isinstance(option, BindingAuthorizationData)
    writer.put(_PADDING[-(start + len(writer)) % _BLOCK])
    return writer.finish()
