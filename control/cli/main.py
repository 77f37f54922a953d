"""The entry point: the group of all commands, and how their failures are told.

Each command imports what it needs when it runs: `homeagent status` loads neither engine nor compiler, and
`homeagent serve` never loads LLVM.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version

import click

from control.cli.ask import bindings, events, sas, status, takeover
from control.cli.check import config
from control.cli.data_path import datapath
from control.cli.departures import drain, handback
from control.cli.doctor import doctor
from control.cli.failures import told
from control.cli.options import json_option
from control.cli.output import pairs, print_json, show
from control.cli.rebootstrap import rebootstrap
from control.cli.reload import reload
from control.cli.run import mobile_node, serve, simulate
from control.cli.watch_bfd import watch_bfd
from control.version import installed_version


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(installed_version(), message="homeagent %(version)s")
def homeagent() -> None:
    """A Mobile IPv6 home agent that brings back the mobile nodes of a failed peer.

    Start with `homeagent config check`, `homeagent datapath load` and `homeagent serve`; then watch it with
    `homeagent status`. Completion for bash: eval "$(_HOMEAGENT_COMPLETE=bash_source homeagent)"
    """


@homeagent.command("version")
@json_option
def show_version(as_json: bool) -> None:
    """The versions of homeagent and of what it rests on."""
    versions = {
        "homeagent": installed_version(),
        "python": platform.python_version(),
        "cryptography": version("cryptography"),
        "kernel": platform.release(),
    }
    if as_json:
        print_json(versions)
    else:
        show(pairs(versions.items()))


for _command in (
    *(serve, reload, status, bindings, sas, takeover, rebootstrap, drain, handback, events, datapath),
    *(config, doctor, watch_bfd, mobile_node, simulate),
):
    homeagent.add_command(_command)


def main() -> None:
    """Run `homeagent`; failures are one line on standard error and exit status 1, never a traceback.

    A fault of the program itself has exit status 70 (EX_SOFTWARE) and shows its traceback on request.
    """
    try:
        with told():
            sys.exit(homeagent.main(standalone_mode=True))
    except Exception as error:
        if os.environ.get("HOMEAGENT_TRACEBACK"):
            raise
        click.echo(
            f"homeagent: a fault of its own ({type(error).__name__}: {error}). "
            "Run it again with HOMEAGENT_TRACEBACK=1 and report what it prints.",
            err=True,
        )
        sys.exit(os.EX_SOFTWARE)
