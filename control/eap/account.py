"""Accounts of peers that authenticate by EAP."""

from __future__ import annotations

from dataclasses import dataclass, field

from control.eap.packet import EapType


@dataclass(frozen=True, slots=True)
class EapAccount:
    """How one peer authenticates.

    Attributes:
        method: the only method it may use.
        identity: whom it has to be by that method; may differ from its IKE identity.
        password: the secret of methods with a password, empty for others.
    """

    method: EapType
    identity: str
    password: str = field(default="", repr=False)
