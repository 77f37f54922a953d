"""Key files for Wireshark: off unless the operator asks, readable by their owner only.

Home agent, mobile node and simulator write the same two files: ``ikev2_decryption_table`` and ``esp_sa`` of a Wireshark
profile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from control.ikev2.key_log import wireshark_line
from control.ikev2.policy import KeyLog
from control.ipsec.key_export import DECRYPTABLE, wireshark_esp_sa
from control.ipsec.security_association import SecurityAssociation

_LOG = logging.getLogger(__name__)


class KeyExport:
    """Appends the keys of IKE SAs and of ESP security associations to files.

    Attributes:
        ike: told the keys of every IKE SA; None if the export is off.
        esp: told every pair of security associations, inbound first; None if the export is off.
    """

    def __init__(self, ike: Path | None, esp: Path | None) -> None:
        """Open the files that are asked for.

        Args:
            ike: file for IKE keys.
            esp: file for ESP keys.

        Raises:
            OSError: one cannot be written, or is a symbolic link.
        """
        self._ike_file = _open(ike, "IKE") if ike is not None else None
        self._esp_file = _open(esp, "ESP") if esp is not None else None
        self.ike: KeyLog | None = self._write_ike if self._ike_file is not None else None
        self.esp: Callable[[SecurityAssociation, SecurityAssociation], None] | None = (
            self._write_esp if self._esp_file is not None else None
        )

    def close(self) -> None:
        """Close the files."""
        for file in (self._ike_file, self._esp_file):
            if file is not None:
                file.close()

    def _write_ike(self, *row: str) -> None:
        if self._ike_file is not None:
            self._ike_file.write(wireshark_line(*row) + "\n")

    def _write_esp(self, inbound: SecurityAssociation, outbound: SecurityAssociation) -> None:
        if self._esp_file is not None and inbound.suite.encryption in DECRYPTABLE:
            self._esp_file.write(f"{wireshark_esp_sa(inbound)}\n{wireshark_esp_sa(outbound)}\n")


def _open(path: Path, protocol: str) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    _LOG.warning("KEY EXPORT IS ON: whoever reads %s can decrypt %s. Never leave it on in service.", path, protocol)
    return os.fdopen(descriptor, "w", buffering=1)
