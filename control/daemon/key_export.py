"""Key files for Wireshark: off unless the operator asks, readable by their owner only."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TextIO

from control.config.schema import KeyExportSettings
from control.ikev2.policy import KeyLog
from control.ipsec.key_export import wireshark_esp_sa
from control.ipsec.security_association import SecurityAssociation

_LOG = logging.getLogger(__name__)


class KeyExport:
    """Appends the keys of IKE and ESP to the files the configuration names, if it names any."""

    def __init__(self, settings: KeyExportSettings) -> None:
        """Open the files.

        Raises:
            OSError: one cannot be written, or is a symbolic link.
        """
        self._ike = _open(settings.ike, "IKE") if settings.ike is not None else None
        self._esp = _open(settings.esp, "ESP") if settings.esp is not None else None

    @property
    def ike_key_log(self) -> KeyLog | None:
        """What the IKE engine is to call, None if nobody asked."""
        return self._write_ike if self._ike is not None else None

    @property
    def exports_esp(self) -> bool:
        """Whether :meth:`write_esp` has a file to write to."""
        return self._esp is not None

    def write_esp(self, association: SecurityAssociation) -> None:
        """Append the keys of one security association."""
        if self._esp is not None:
            self._esp.write(wireshark_esp_sa(association) + "\n")

    def close(self) -> None:
        """Close the files."""
        for file in (self._ike, self._esp):
            if file is not None:
                file.close()

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
        if self._ike is not None:
            fields = (initiator_spi, responder_spi, sk_ei, sk_er, f'"{encryption}"', sk_ai, sk_ar, f'"{integrity}"')
            self._ike.write(",".join(fields) + "\n")


def _open(path: Path, protocol: str) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    _LOG.warning("KEY EXPORT IS ON: whoever reads %s can decrypt %s. Never leave it on in service.", path, protocol)
    return os.fdopen(descriptor, "w", buffering=1)
