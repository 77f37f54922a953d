"""Key files: only on request, with a warning, for their owner's eyes."""

from __future__ import annotations

import logging
import stat

import pytest

from control.key_export import KeyExport


def test_nothing_is_exported_unless_asked_for(caplog):
    keys = KeyExport(None, None)
    assert keys.ike is None
    assert keys.esp is None
    assert not caplog.records


def test_the_file_is_private_and_the_operator_is_warned(tmp_path, caplog):
    path = tmp_path / "ikev2_decryption_table"
    path.touch(mode=0o644)
    keys = KeyExport(path, None)
    keys.ike("aa", "bb", "11", "22", "AES-GCM-128 with 16 octet ICV [RFC5282]", "", "", "NONE [RFC4306]")
    keys.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == 'aa,bb,11,22,"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"\n'
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()


def test_a_symbolic_link_is_refused(tmp_path):
    path = tmp_path / "keys"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        KeyExport(None, path)
