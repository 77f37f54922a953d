"""Where a Redis or Valkey server is. The client library, which is large, is loaded for those who have one."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
"""Schemes of URLs that name a Redis server."""
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where the store is.

    Attributes:
        url: for redis.from_url, without this class's own parameters; may hold a password.
        sentinels: host and port of each Sentinel, empty without.
        service: what the Sentinels call the master.
        minimum_replicas: how many replicas must have a write before it counts as stored.
    """

    url: str = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    minimum_replicas: int = 0

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Take apart ``redis://[user:password@]host[:port][/db]``, ``rediss://``, ``unix://`` or
        ``redis+sentinel://[user:password@]host[:port][,host…]/service[/db]``, each with ``?min_replicas=N`` if wanted.

        Raises:
            ValueError: it is none of these; the message says what is wrong and holds no password.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"{parts.scheme or 'no scheme'} is not one of {', '.join(SCHEMES)}")
        parameters = parse_qs(parts.query)
        wanted = parameters.pop("min_replicas", ["0"])[-1]
        if not wanted.isdigit():
            raise ValueError(f"min_replicas={wanted} is not a number")
        if parts.scheme != "redis+sentinel":
            query = "&".join(f"{key}={value}" for key, values in parameters.items() for value in values)
            plain = f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")
            _port(parts)
            import redis  # large

            redis.ConnectionPool.from_url(plain)  # does not connect; knows what else can be wrong
            return cls(plain, minimum_replicas=int(wanted))
        login, _, hosts = parts.netloc.rpartition("@")
        path = [part for part in parts.path.split("/") if part]
        if not 1 <= len(path) <= 2 or (len(path) == 2 and not path[1].isdigit()):
            raise ValueError("after the Sentinels comes /SERVICE or /SERVICE/DATABASE")
        sentinels = tuple(_host_and_port(host) for host in hosts.split(","))
        database = path[1] if len(path) == 2 else "0"
        base = f"redis://{login + '@' if login else ''}{path[0]}/{database}"
        return cls(base, sentinels, unquote(path[0]), int(wanted))

    @property
    def holds_secret(self) -> bool:
        """Whether there is a password in it."""
        parts = urlsplit(self.url)
        return bool(parts.password) or "password" in parse_qs(parts.query)

    def __str__(self) -> str:
        if self.sentinels:
            return f"{self.service} of Sentinel " + ",".join(f"{host}:{port}" for host, port in self.sentinels)
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel has no host name")
    return parts.hostname, _port(parts) or _SENTINEL_PORT


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        # The library's own message repeats what stands there, which may be a part of the password.
        raise ValueError(
            "its port is no number from 0 to 65535; in a password write %2F for /, %3F for ?, %23 for #"
        ) from None
