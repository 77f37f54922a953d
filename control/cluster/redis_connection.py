"""The connection to a Redis or Valkey server: scripts run on it, its errors as typed ones."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from control.cluster.redis_address import RedisAddress
from control.cluster.store import StoreError

_KNOWN = (
    (exceptions.AuthenticationError, "access", "refuses our user or password.", "Correct them in cluster.store."),
    (
        exceptions.NoPermissionError,
        "access",
        "does not let our user do this.",
        "Give it ~{homeagent}:* +@all.",
    ),
    (exceptions.BusyLoadingError, "loading", "is still loading its data.", "Wait: it is tried again by itself."),
    (exceptions.ReadOnlyError, "read-only", "is a replica.", "Name the master, or the Sentinels that know it."),
    (exceptions.OutOfMemoryError, "disk-full", "is out of memory.", "Raise its maxmemory; use policy noeviction."),
    (exceptions.TimeoutError, "timeout", "does not answer in time.", "Look at its load and the network."),
    (MasterNotFoundError, "unreachable", "has no master that Sentinel knows.", "Look at the Sentinels' logs."),
    (exceptions.ConnectionError, "unreachable", "cannot be reached.", "Start it, or look at the network."),
)


class RedisConnection:
    """Runs the scripts of ``redis_scripts``. Every method may raise StoreError."""

    def __init__(self, address: RedisAddress, prefix: str, timeout_s: float) -> None:
        """Connect when first needed.

        Args:
            address: where to.
            prefix: what all keys begin with.
            timeout_s: seconds after which an unanswered request, or connection, counts as failed.
        """
        self._address = address
        self._prefix = prefix
        self._timeout_s = timeout_s
        # One more try at once, on a new connection: the server may have restarted since the last request.
        self._client = _client(address, timeout_s, tries=2)
        # Scripts have numbered tries.
        self._client_once = _client(address, timeout_s, tries=1)
        self._name = secrets.token_hex(8)
        self._numbers = count(1)

    def run(self, name: str, *arguments: str | int | bytes, stored: bool = False, once: bool = False) -> Any:
        """What a script returns; it happens as a whole or not at all.

        If its answer does not come in time it may still happen, but not after another try of this object.

        Args:
            name: of the script.
            arguments: its ARGV.
            stored: whether the replicas that the address demands must have it before this returns.
            once: whether it must not be run again if its answer is lost; else it may be.
        """
        script, digest = _script(name)

        def request() -> Any:
            if once:
                # A connection of its own: an idle one may have been closed, and there is no second try.
                self._client_once.connection_pool.disconnect()
            pipeline = self._client_once.pipeline(transaction=False)
            pipeline.evalsha(digest, 1, self._prefix, self._name, next(self._numbers), *arguments)
            if stored and self._address.minimum_replicas:
                pipeline.execute_command("WAIT", self._address.minimum_replicas, int(self._timeout_s * 500))
            return pipeline.execute()

        def request_with_script() -> Any:
            try:
                return request()
            except exceptions.NoScriptError:
                self._client.script_load(script)
                return request()

        def request_again() -> Any:
            try:
                return request_with_script()
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                if once:
                    raise
                return request_with_script()

        results = self._typed(request_again)
        if len(results) > 1 and results[1] < self._address.minimum_replicas:
            raise StoreError(
                "not-replicated",
                f"The state store {self._address} has {results[1]} replicas that follow, "
                f"not {self._address.minimum_replicas}.",
                "Bring its replicas back; nodes repeat what was not acknowledged.",
            )
        return results[0]

    def command(self, name: str, key: str, *arguments: str | int | bytes) -> Any:
        """What a plain command returns; the key is relative to the prefix where it begins with ``:``."""
        named = self._prefix + key[1:] if key.startswith(":") else key
        return self._typed(lambda: self._client.execute_command(name, named, *arguments))

    def run_id(self) -> str:
        """What the server calls its present life."""
        information: Any = self._typed(lambda: self._client.info("server"))
        return str(information.get("run_id", ""))

    def close(self) -> None:
        """Close the connections."""
        self._typed(self._client.close)
        self._typed(self._client_once.close)

    def error(self, reason: str, what: str, remedy: str) -> StoreError:
        """An error that names this store."""
        return StoreError(reason, f"The state store {self._address} {what}", remedy)

    def _typed(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except exceptions.RedisError as error:
            for kind, reason, what, remedy in _KNOWN:
                if isinstance(error, kind):
                    raise self.error(reason, what, remedy) from error
            if "WRONGTYPE" in str(error):
                remedy = "Name another database in cluster.store."
                raise self.error("foreign-database", "holds another program's keys.", remedy) from error
            remedy = "Report this with the message; the store is as it was before."
            raise self.error("database", f"failed: {error}.", remedy) from error
        except (OSError, UnicodeError) as error:
            raise self.error("unreachable", f"cannot be reached: {error}.", "Correct cluster.store.") from error


def _client(address: RedisAddress, timeout_s: float, *, tries: int) -> Any:
    """Redis-py's types cover its asynchronous client too, which makes every result a union."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), tries - 1),
    }
    if not address.sentinels:
        return redis.Redis.from_url(address.url, **options)
    from_url: Any = redis.Redis.from_url(address.url).connection_pool.connection_kwargs
    login = {key: from_url[key] for key in ("username", "password", "db") if from_url.get(key) is not None}
    make_sentinel: Any = Sentinel
    sentinel = make_sentinel(address.sentinels, sentinel_kwargs={"socket_timeout": timeout_s})
    return sentinel.master_for(address.service, **options, **login)


@cache
def _script(name: str) -> tuple[str, str]:
    folder = files("control.cluster") / "redis_scripts"
    text = (folder / "library.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
