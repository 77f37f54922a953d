"""The bpf(2) system call through ctypes: pinned objects, maps, program test runs. No LLVM, no libbpf.

Keys and values are bytes in the kernel's own layout; values of per-CPU maps are all processors' values one after
another, each padded to 8 bytes. Every function raises :class:`~datapath.errors.DatapathError` subclasses only.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from datapath.bpf_commands import Command, address, call, failure, input_buffer, output_buffer
from datapath.errors import BpfCallFailed, DatapathError, MapFull, NotLoaded, StalePin


class MapType(IntEnum):
    """Kinds of maps used here (enum bpf_map_type)."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    DEVMAP = 14


MAP_NOT_PREALLOCATED = 1 << 0
"""Flag of a map whose entries take memory only once they are there (BPF_F_NO_PREALLOC)."""
MAP_MEMORY_MAPPABLE = 1 << 10
"""Flag of a map whose values can be mapped into memory (BPF_F_MMAPABLE)."""


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel says of a map."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel says of a program.

    ``verified_instructions`` is 0 on kernels before 5.16, ``runs`` and ``run_time_ns`` are 0 unless the sysctl
    kernel.bpf_stats_enabled is set.
    """

    type: int
    id: int
    tag: str
    name: str
    verified_instructions: int
    translated_size: int
    run_time_ns: int = 0
    runs: int = 0


@dataclass(frozen=True, slots=True)
class TestRun:
    """Outcome of BPF_PROG_TEST_RUN: the verdict, the frame afterwards, and ns per run."""

    verdict: int
    frame: bytes
    duration_ns: int


def possible_processors() -> int:
    """Number of processors a per-CPU value has room for."""
    last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip().rpartition(",")[2]
    return int(last.rpartition("-")[2]) + 1


def object_get(path: Path) -> int:
    """Opens a pinned object and returns its descriptor; raises NotLoaded if there is none."""
    name = input_buffer(os.fsencode(path) + b"\0")
    result, _ = call(Command.OBJ_GET, struct.pack("=Q", address(name)))
    if result == -errno.ENOENT:
        raise NotLoaded(f"Nothing is pinned at {path}: run `homeagent datapath load` first.")
    if result < 0:
        raise failure(-result, f"Opening {path}")
    return result


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a pinned object, closed at the end of the block."""
    descriptor = object_get(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def object_pin(descriptor: int, path: Path) -> None:
    """Pins a map or program; the path must not exist yet."""
    name = input_buffer(os.fsencode(path) + b"\0")
    result, _ = call(Command.OBJ_PIN, struct.pack("=QI", address(name), descriptor))
    if result < 0:
        raise failure(-result, f"Pinning {path}")


def _object_info(descriptor: int, size: int) -> bytes:
    info = output_buffer(size)
    result, _ = call(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", descriptor, size, address(info)))
    if result < 0:
        raise failure(-result, "Asking the kernel about a BPF object")
    return info.raw


def map_info(descriptor: int) -> MapInfo:
    """Type and sizes of a map."""
    fields = struct.unpack_from("=6I16s", _object_info(descriptor, 80))
    return MapInfo(
        type=fields[0],
        id=fields[1],
        key_size=fields[2],
        value_size=fields[3],
        max_entries=fields[4],
        flags=fields[5],
        name=fields[6].rstrip(b"\0").decode("ascii", "replace"),
    )


def program_info(descriptor: int) -> ProgramInfo:
    """Identity and size of a program."""
    info = _object_info(descriptor, 232)
    kind, identifier, tag, _jited, translated = struct.unpack_from("=II8sII", info)
    name = info[64:80].rstrip(b"\0").decode("ascii", "replace")
    run_time_ns, runs, _missed, verified = struct.unpack_from("=QQQI", info, 192)
    return ProgramInfo(kind, identifier, tag.hex(), name, verified, translated, run_time_ns, runs)


def program_map_identifiers(descriptor: int) -> frozenset[int]:
    """The maps that a program uses."""
    (number,) = struct.unpack_from("=I", _object_info(descriptor, 232), 52)
    identifiers = output_buffer(4 * number)
    info = input_buffer(bytes(52) + struct.pack("=IQ", number, address(identifiers)) + bytes(168))
    result, _ = call(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", descriptor, 232, address(info)))
    if result < 0:
        raise failure(-result, "Asking the kernel about the maps of a program")
    return frozenset(struct.unpack(f"={number}I", identifiers.raw[: 4 * number]))


def map_create(kind: MapType, key_size: int, value_size: int, max_entries: int, name: str, flags: int = 0) -> int:
    """Creates a map and returns its descriptor."""
    attributes = struct.pack("=7I16s", kind, key_size, value_size, max_entries, flags, 0, 0, name.encode("ascii")[:15])
    result, _ = call(Command.MAP_CREATE, attributes)
    if result < 0:
        raise failure(-result, f"Creating the map {name} of {max_entries} entries")
    return result


class Map:
    """An open map: keys and values as bytes.

    Closing is the owner's duty (``close`` or a ``with`` block); a pinned map lives on.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.info = map_info(descriptor)
        self.is_per_processor = self.info.type == MapType.PERCPU_ARRAY
        self.key_size = self.info.key_size
        if self.is_per_processor:
            self.value_size = (self.info.value_size + 7) // 8 * 8 * possible_processors()
        else:
            self.value_size = self.info.value_size

    @classmethod
    def open(cls, path: Path) -> Map:
        """Opens the map pinned at ``path``; raises NotLoaded or StalePin."""
        descriptor = object_get(path)
        try:
            return cls(descriptor)
        except BpfCallFailed as error:
            os.close(descriptor)
            raise StalePin(f"{path} is not a BPF map: remove it with `homeagent datapath unload`.") from error

    def close(self) -> None:
        """Closes the descriptor; the map itself stays while it is pinned or in use."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fail(self, error: int, what: str) -> DatapathError:
        if error == errno.E2BIG or (error == errno.ENOSPC and what.startswith("Writing")):
            return MapFull(
                f"The map {self.info.name} holds its {self.info.max_entries} entries: load the data path with more."
            )
        return failure(error, f"{what} the map {self.info.name}")

    def _check(self, data: bytes, size: int, what: str) -> None:
        if len(data) != size:
            raise ValueError(f"{what} of {len(data)} bytes for the map {self.info.name}, which takes {size}")

    def memory(self) -> mmap.mmap:
        """The values of an array made with MAP_MEMORY_MAPPABLE, one after another; close it after use."""
        value = (self.info.value_size + 7) // 8 * 8
        size = -(-value * self.info.max_entries // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            return mmap.mmap(self.descriptor, size)
        except OSError as error:
            raise self._fail(error.errno or errno.EINVAL, "Mapping the memory of") from error

    def lookup(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""
        self._check(key, self.key_size, "key")
        key_buffer, value = input_buffer(key), output_buffer(self.value_size)
        attributes = struct.pack("=IIQQQ", self.descriptor, 0, address(key_buffer), address(value), 0)
        result, _ = call(Command.MAP_LOOKUP_ELEM, attributes)
        if result == -errno.ENOENT:
            return None
        if result < 0:
            raise self._fail(-result, "Reading")
        return value.raw[: self.value_size]

    def update(self, key: bytes, value: bytes) -> None:
        """Stores ``value`` under ``key``; raises MapFull when there is no room."""
        self._check(key, self.key_size, "key")
        self._check(value, self.value_size, "value")
        key_buffer, value_buffer = input_buffer(key), input_buffer(value)
        attributes = struct.pack("=IIQQQ", self.descriptor, 0, address(key_buffer), address(value_buffer), 0)
        result, _ = call(Command.MAP_UPDATE_ELEM, attributes)
        if result < 0:
            raise self._fail(-result, "Writing")

    def delete(self, key: bytes) -> bool:
        """Removes ``key``; whether it was there."""
        self._check(key, self.key_size, "key")
        key_buffer = input_buffer(key)
        result, _ = call(Command.MAP_DELETE_ELEM, struct.pack("=IIQ", self.descriptor, 0, address(key_buffer)))
        if result == -errno.ENOENT:
            return False
        if result < 0:
            raise self._fail(-result, "Deleting from")
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys, one call each; a key deleted meanwhile may restart the walk, so callers take what they need."""
        previous: ctypes.Array[ctypes.c_char] | None = None
        while True:
            following = output_buffer(self.key_size)
            attributes = struct.pack("=IIQQ", self.descriptor, 0, address(previous), address(following))
            result, _ = call(Command.MAP_GET_NEXT_KEY, attributes)
            if result == -errno.ENOENT:
                return
            if result < 0:
                raise self._fail(-result, "Walking")
            yield following.raw[: self.key_size]
            previous = following

    def lookup_batches(self, batch_size: int = 4096) -> Iterator[tuple[bytes, bytes, int]]:
        """All entries, in blocks of concatenated keys, concatenated values and their number."""
        size = min(max(batch_size, 256), max(self.info.max_entries, 256))
        token, is_first = output_buffer(max(self.key_size, 8)), True
        while True:
            keys, values = output_buffer(size * self.key_size), output_buffer(size * self.value_size)
            following = output_buffer(max(self.key_size, 8))
            attributes = struct.pack(
                "=QQQQIIQQ",
                0 if is_first else address(token),
                address(following),
                address(keys),
                address(values),
                size,
                self.descriptor,
                0,
                0,
            )
            result, after = call(Command.MAP_LOOKUP_BATCH, attributes)
            (count,) = struct.unpack_from("=I", after, 32)
            if result == -errno.ENOSPC:  # one bucket holds more than the block
                size *= 2
                continue
            if result < 0 and result != -errno.ENOENT:
                raise self._fail(-result, "Reading")
            if count:
                yield keys.raw[: count * self.key_size], values.raw[: count * self.value_size], count
            if result == -errno.ENOENT:
                return
            token, is_first = following, False

    def delete_batch(self, keys: bytes) -> None:
        """Removes many keys; those that are not there are passed over."""
        start, total = 0, len(keys) // self.key_size
        self._check(keys, total * self.key_size, "keys")
        key_buffer = input_buffer(keys)
        while start < total:
            first = address(key_buffer) + start * self.key_size
            attributes = struct.pack("=QQQQIIQQ", 0, 0, first, 0, total - start, self.descriptor, 0, 0)
            result, after = call(Command.MAP_DELETE_BATCH, attributes)
            if result == -errno.ENOENT:  # the count is of those before the one that is not there
                (count,) = struct.unpack_from("=I", after, 32)
                start += count + 1
                continue
            if result < 0:
                raise self._fail(-result, "Deleting from")
            return


def program_test_run(descriptor: int, frame: bytes, *, interface: int = 0, repeat: int = 1) -> TestRun:
    """Runs an XDP program on a frame, as if received by ``interface`` (an index; 0 means the loopback device)."""
    data, result_frame = input_buffer(frame), output_buffer(len(frame) + 512)
    context_in = struct.pack("=6I", 0, len(frame), 0, interface, 0, 0)
    context = input_buffer(context_in)
    size = len(context_in) if interface else 0
    attributes = struct.pack(
        "=IIIIQQIIIIQQ",
        descriptor,
        0,
        len(frame),
        len(frame) + 512,
        address(data),
        address(result_frame),
        repeat,
        0,
        size,
        0,
        address(context) if size else 0,
        0,
    )
    result, after = call(Command.PROG_TEST_RUN, attributes)
    if result < 0:
        raise failure(-result, "Running the program on a test frame")
    verdict, _, length = struct.unpack_from("=III", after, 4)
    (duration,) = struct.unpack_from("=I", after, 36)
    return TestRun(verdict, result_frame.raw[:length], duration)


def run_live_frames(descriptor: int, frame: bytes, *, interface: int, repeat: int, batch_size: int = 64) -> None:
    """Runs an XDP program on ``repeat`` frames as if received by ``interface``, and does what its verdicts say.

    The kernel keeps the frames' memory for the next ones and restores their length only, so the program has to write
    every header anew (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18). Returns when the last frame was sent or dropped.
    """
    data, context = input_buffer(frame), input_buffer(struct.pack("=6I", 0, len(frame), 0, interface, 0, 0))
    attributes = struct.pack(
        "=IIIIQQIIIIQQIII",
        *(descriptor, 0, len(frame), 0, address(data), 0),
        *(repeat, 0, 24, 0, address(context), 0),
        *(2, 0, batch_size),
    )
    result, _ = call(Command.PROG_TEST_RUN, attributes)
    if result < 0:
        raise failure(-result, "Sending live frames")
