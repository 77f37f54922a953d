"""How failures are told: what is wrong and what to do, in a line, without a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from control.cluster.store import StoreError
from control.config.problems import ConfigurationError
from control.control_socket import CommandError
from control.ipsec.errors import IpsecBackendError
from datapath.errors import DatapathError

CAPABILITIES = "CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_BPF and CAP_PERFMON"


@contextmanager
def told() -> Iterator[None]:
    """Turn the failures operators can do something about into a message and exit status 1."""
    try:
        yield
    except ConfigurationError as error:
        _fail(*(str(problem) for problem in error.problems))
    except (CommandError, DatapathError, StoreError) as error:
        _fail(str(error))
    except IpsecBackendError as error:
        _fail(f"a security association of the nodes file cannot be installed ({error}). Correct it, or remove it.")
    except OSError as error:
        _fail(_explain(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(*messages: str) -> None:
    for message in messages:
        click.echo(f"homeagent: {message}", err=True)
    sys.exit(1)


def _explain(error: OSError) -> str:
    what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    remedies = {
        errno.EPERM: f"Run it as root, or with {CAPABILITIES}.",
        errno.EACCES: "Run it as root, or correct the permissions.",
        errno.EADDRNOTAVAIL: "Give the home agent address to an interface, or correct [home_agent] address.",
        errno.EADDRINUSE: "Another program has the port: end it, a second IKE daemon for example.",
        errno.ENOSPC: "Make room on the disk.",
        errno.ENOENT: "Correct the path, or create what is missing.",
    }
    remedy = remedies.get(error.errno or 0, "Look at the message before, if there is one.")
    return f"{what}. {remedy}"
