"""What the mobile node agent proves itself with, from its file: a shared key, a password, or certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from control.config.load import SectionReader
from control.config.toml_source import TomlSource, read_text
from control.config.values import SharedKey
from control.eap.account import EapAccount
from control.eap.packet import EapType

if TYPE_CHECKING:
    from control.mobile_daemon.configuration import AgentSettings

_EAP_METHODS = {"eap-md5": EapType.MD5_CHALLENGE, "eap-mschapv2": EapType.MSCHAPV2}
_Complain = Callable[[str, str, str], None]


def agent_secrets(
    node: AgentSettings, reader: SectionReader, source: TomlSource
) -> tuple[SharedKey | None, EapAccount | None]:
    """Shared key and EAP account, if there have to be such; complains about authentication that cannot work."""

    def complain(key: str, wrong: str, remedy: str) -> None:
        reader.complain(source.line("mobile_node", key), f"mobile_node.{key}", wrong, remedy)

    _check_certificates(node, complain)
    method = _EAP_METHODS.get(node.authentication)
    account = _account(node, method, complain) if method is not None else None
    shares = node.shared_key is not None or node.shared_key_file is not None
    if node.authentication == "certificate" or (method is not None and not shares):
        return None, account
    return _agent_key(node, complain), account


def shared_key(text: str) -> SharedKey:
    """The octets of a shared key: text, or 0x and hexadecimal digits.

    Raises:
        ValueError: empty, or 0x without pairs of digits.
    """
    secret = bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
    if not secret:
        raise ValueError("an empty shared key")
    return SharedKey(secret)


def _check_certificates(node: AgentSettings, complain: _Complain) -> None:
    """The node's own, and the authorities that home agents have theirs of."""
    needed: tuple[str, ...] = ()
    if node.authentication == "certificate":
        needed = ("certificate", "private_key", "trust_anchors")
    elif node.authentication in _EAP_METHODS:
        needed = ("trust_anchors",)
    for key in needed:
        if not getattr(node, key):
            remedy = f'Add {key}, or write authentication = "shared-key".'
            complain("authentication", f"certificates are to be used, but there is no {key}", remedy)


def _account(node: AgentSettings, method: EapType, complain: _Complain) -> EapAccount | None:
    if (node.password is None) == (node.password_file is None):
        complain("authentication", "exactly one password is needed", "Give either password or password_file.")
        return None
    password = node.password or ""
    if node.password_file is not None:
        password = read_text(node.password_file).removesuffix("\n")
    if not password:
        key = "password" if node.password is not None else "password_file"
        complain(key, "an empty password", "Write the one that the home agent's operator has given.")
        return None
    return EapAccount(method, node.eap_identity or str(node.identity), password)


def _agent_key(node: AgentSettings, complain: _Complain) -> SharedKey | None:
    if (node.shared_key is None) == (node.shared_key_file is None):
        complain("authentication", "exactly one shared key is needed", "Give either shared_key or shared_key_file.")
        return None
    if node.home_agent is not None and node.home_agent_identity is None and node.authentication == "shared-key":
        wrong = "with a shared key the node has to know whom it proves itself to"
        complain("home_agent", wrong, "Add home_agent_identity.")
    key = "shared_key" if node.shared_key is not None else "shared_key_file"
    text = node.shared_key or ""
    if node.shared_key_file is not None:
        text = read_text(node.shared_key_file).removesuffix("\n")
    try:
        return shared_key(text)
    except ValueError:
        complain(key, "not a shared key", "Write a random one: openssl rand -hex 32, with 0x before it.")
        return None
