"""Key files for Wireshark: off unless asked for, readable by their owner only."""

from __future__ import annotations

import os
from pathlib import Path

from control.config.schema import KeyExportSettings
from control.ikev2.policy import KeyLog
from control.ipsec.key_export import wireshark_esp_sa
from control.ipsec.security_association import SecurityAssociation
from control.mobile_node.associations import InstalledCallback


class KeyFiles:
    """What Wireshark needs to decrypt the traffic of the nodes.

    Attributes:
        ike: told the keys of every IKE SA; None if the export is off.
        esp: told every pair of security associations; None if the export is off.
    """

    def __init__(self, settings: KeyExportSettings) -> None:
        """Open the files that are asked for.

        Raises:
            OSError: a file cannot be written.
        """
        self._ike = _open(settings.ike)
        self._esp = _open(settings.esp)
        self.ike: KeyLog | None = self._write_ike if self._ike >= 0 else None
        self.esp: InstalledCallback | None = self._write_esp if self._esp >= 0 else None

    def _write_ike(
        self,
        initiator_spi: str,
        responder_spi: str,
        sk_ei: str,
        sk_er: str,
        encryption: str,
        sk_ai: str,
        sk_ar: str,
        integrity: str,
    ) -> None:
        row = f'{initiator_spi},{responder_spi},{sk_ei},{sk_er},"{encryption}",{sk_ai},{sk_ar},"{integrity}"\n'
        os.write(self._ike, row.encode())

    def _write_esp(self, inbound: SecurityAssociation, outbound: SecurityAssociation) -> None:
        rows = f"{wireshark_esp_sa(inbound)}\n{wireshark_esp_sa(outbound)}\n"
        os.write(self._esp, rows.encode())


def _open(path: Path | None) -> int:
    if path is None:
        return -1
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
