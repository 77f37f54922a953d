"""Which worker an IKE message is for, told by this side's SPI: in Python, and as a program for the kernel.

Every worker has sockets of its own on ports 500 and 4500, in groups that share an address (SO_REUSEPORT). A classic BPF
program (SO_ATTACH_REUSEPORT_CBPF) sees each datagram from its UDP payload on and returns the index of the socket in its
group; loads beyond the end of the datagram end it with index 0.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct

MAX_WORKERS = 64
"""As many as may be configured."""

_INSTRUCTION = Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, constant; in host order
_SPI_HEAD = Struct(">H")
_RESPONDER_SPI = 8
_FLAGS = 19
_FROM_INITIATOR = 0x08
_IKE_HEADER_SIZE = 28
_MARKER_SIZE = 4


class _Code(IntEnum):
    """Operations of classic BPF (linux/filter.h), as far as they are used."""

    LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
    LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
    LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
    LOAD_LENGTH = 0x80  # BPF_LD | BPF_W | BPF_LEN
    MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
    JUMP = 0x05  # BPF_JMP | BPF_JA
    JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
    JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
    JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
    RETURN = 0x06  # BPF_RET | BPF_K
    RETURN_RESULT = 0x16  # BPF_RET | BPF_A


def worker_of(spi: bytes, workers: int) -> int:
    """The worker that has the IKE SA with this SPI of our side, or answers the IKE_SA_INIT of this initiator."""
    head: int = _SPI_HEAD.unpack_from(spi)[0]
    return head % workers


def spi_shaper(worker: int, workers: int) -> Callable[[bytes], bytes]:
    """Makes SPIs that :func:`worker_of` finds ``worker`` in, of 8 random bytes."""

    def shape(spi: bytes) -> bytes:
        head: int = _SPI_HEAD.unpack_from(spi)[0]
        head += worker - head % workers
        if head > 0xFFFF:
            head -= workers
        return _SPI_HEAD.pack(head) + spi[_SPI_HEAD.size :]

    return shape


def plain_filter(workers: int) -> bytes:
    """The program for port 500, an array of ``struct sock_filter``; socket n of the group is worker n's."""
    return b"".join(_steer(0, workers))


def nat_traversal_filter(workers: int) -> bytes:
    """The same for port 4500: what is not IKE behind a marker goes to one more socket, the last of the group."""
    steer = _steer(_MARKER_SIZE, workers)
    check = (
        _instruction(_Code.LOAD_LENGTH),
        _instruction(_Code.JUMP_AT_LEAST, _MARKER_SIZE + _IKE_HEADER_SIZE, if_false=2),
        _instruction(_Code.LOAD_WORD, 0),
        _instruction(_Code.JUMP_EQUAL, 0, if_true=1),
        _instruction(_Code.RETURN, workers),
    )
    return b"".join((*check, *steer))


def _steer(start: int, workers: int) -> tuple[bytes, ...]:
    """Find this side's SPI in the IKE header at ``start``: the one that the sender did not choose.

    Who the initiator is does not change with the direction of a message. Where the responder has no SPI yet, the
    initiator's has to do: all repetitions of an IKE_SA_INIT come to the same worker.
    """
    responder = start + _RESPONDER_SPI
    return (
        _instruction(_Code.LOAD_BYTE, start + _FLAGS),
        _instruction(_Code.JUMP_ANY_BIT, _FROM_INITIATOR, if_false=6),
        _instruction(_Code.LOAD_WORD, responder),
        _instruction(_Code.JUMP_EQUAL, 0, if_false=2),
        _instruction(_Code.LOAD_WORD, responder + 4),
        _instruction(_Code.JUMP_EQUAL, 0, if_true=2),
        _instruction(_Code.LOAD_HALF, responder),
        _instruction(_Code.JUMP, 1),
        _instruction(_Code.LOAD_HALF, start),
        _instruction(_Code.MODULO, workers),
        _instruction(_Code.RETURN_RESULT),
    )


def _instruction(code: _Code, constant: int = 0, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, constant)
