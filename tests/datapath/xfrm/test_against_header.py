"""Sizes, offsets and code points as the kernel's own header has them, told by a program that includes it."""

from __future__ import annotations

import subprocess
from ipaddress import IPv6Address
from pathlib import Path

from control.sockets.ike_udp import UDP_ENCAP
from datapath.xfrm import numbers, structs
from datapath.xfrm.policies import Policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, Encapsulation, State, UsageLimits, spi_request

SIZES = {
    "struct nlmsghdr": structs.NETLINK_HEADER.size,
    "struct nlattr": structs.ATTRIBUTE.size,
    "struct xfrm_selector": structs.SELECTOR.size,
    "struct xfrm_lifetime_cfg": structs.LIFETIME_LIMITS.size,
    "struct xfrm_lifetime_cur": structs.LIFETIME.size,
    "struct xfrm_id": structs.STATE_ID.size,
    "struct xfrm_usersa_info": structs.STATE.size,
    "struct xfrm_usersa_id": structs.STATE_KEY.size,
    "struct xfrm_user_expire": structs.EXPIRE.size,
    "struct xfrm_user_acquire": structs.ACQUIRE.size,
    "struct xfrm_userspi_info": structs.SPI_RANGE.size,
    "struct xfrm_userpolicy_info": structs.POLICY.size,
    "struct xfrm_userpolicy_id": structs.POLICY_KEY.size,
    "struct xfrm_user_tmpl": structs.TEMPLATE.size,
    "struct xfrm_encap_tmpl": structs.ENCAPSULATION.size,
    "struct xfrm_algo": structs.CIPHER.size,
    "struct xfrm_algo_auth": structs.ALGORITHM_WITH_CHECK.size,
    "struct xfrm_algo_aead": structs.ALGORITHM_WITH_CHECK.size,
    "struct xfrm_replay_state_esn": structs.REPLAY.size,
}
CONSTANTS = {
    **{f"NLMSG_{member.name}": int(member) for member in numbers.NetlinkType},
    **{f"NLM_F_{member.name}": int(member) for member in numbers.NetlinkFlag},
    **{f"XFRM_MSG_{member.name}": int(member) for member in numbers.MessageType},
    **{f"XFRMNLGRP_{member.name}": int(member) for member in numbers.Group},
    **{f"XFRMA_{member.name}": int(member) for member in numbers.AttributeType},
    **{f"XFRM_SA_XFLAG_{member.name}": int(member) for member in numbers.ExtraFlag},
    **{f"XFRM_POLICY_{member.name}": int(member) for member in (*numbers.Direction, *numbers.Action)},
    "UDP_ENCAP_ESPINUDP": numbers.ENCAPSULATION_ESP_IN_UDP,
    "UDP_ENCAP": UDP_ENCAP,
    **{f"XFRM_MODE_{member.name}": int(member) for member in numbers.Mode},
    "NETLINK_XFRM": numbers.NETLINK_XFRM,
    "XFRM_INF": numbers.NO_LIMIT,
    "AF_INET6": numbers.FAMILY_INET6,
    "IPPROTO_ESP": numbers.PROTOCOL_ESP,
}
SELECTOR = Selector(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), 135, (5, 0xFFFF), (7, 0xFF))
STATE = State(
    source=IPv6Address("2001:db8::1"),
    destination=IPv6Address("2001:db8::2"),
    spi=0x1234,
    reqid=77,
    selector=SELECTOR,
    replay_window=64,
    aead=Algorithm("rfc4106(gcm(aes))", bytes(20), 128),
    limits=UsageLimits(1001, 1002, 1003, 1004),
)
POLICY = Policy(numbers.Direction.OUT, SELECTOR, 78, 1000)
# Fields as C reads them out of what we wrote: in host order, addresses by their last byte, numbers of the wire swapped.
STATE_FIELDS = {
    "sel.daddr.in6.s6_addr[15]": 2,
    "sel.saddr.in6.s6_addr[15]": 1,
    "ntohs(s->sel.sport)": 5,
    "ntohs(s->sel.sport_mask)": 0xFFFF,
    "ntohs(s->sel.dport)": 7,
    "ntohs(s->sel.dport_mask)": 0xFF,
    "sel.family": 10,
    "sel.prefixlen_d": 128,
    "sel.prefixlen_s": 128,
    "sel.proto": 135,
    "id.daddr.in6.s6_addr[15]": 2,
    "ntohl(s->id.spi)": 0x1234,
    "id.proto": 50,
    "saddr.in6.s6_addr[15]": 1,
    "lft.soft_byte_limit": 1001,
    "lft.hard_byte_limit": 1002,
    "lft.soft_packet_limit": 1003,
    "lft.hard_packet_limit": 1004,
    "lft.hard_add_expires_seconds": 0,
    "reqid": 77,
    "family": 10,
    "mode": 0,
}
POLICY_FIELDS = {"priority": 1000, "dir": 1, "action": 0, "sel.proto": 135, "lft.soft_byte_limit": numbers.NO_LIMIT}
TEMPLATE_FIELDS = {
    "id.proto": 50,
    "family": 10,
    "reqid": 78,
    "mode": 0,
    "optional": 0,
    "aalgos": 0xFFFF_FFFF,
    "calgos": 0xFFFF_FFFF,
}
ENCAPSULATION_FIELDS = {
    "encap_type": 2,
    "ntohs(s->encap_sport)": 4500,
    "ntohs(s->encap_dport)": 31_000,
    "encap_oa.in6.s6_addr[0]": 0,
}
RANGE_FIELDS = {"info.reqid": 77, "info.id.proto": 50, "min": 256, "max": 300}
TABLES = (
    SIZES,
    CONSTANTS,
    STATE_FIELDS,
    POLICY_FIELDS,
    TEMPLATE_FIELDS,
    ENCAPSULATION_FIELDS,
    RANGE_FIELDS,
)


def _number(expression: str) -> str:
    return f'printf("%llu\\n", (unsigned long long)({expression}));\n'


def _fields(kind: str, variable: str, data: bytes, fields: dict[str, int]) -> str:
    text = f"{{ static const unsigned char raw_{variable}[] __attribute__((aligned(8))) = "
    text += "{" + ",".join(map(str, data)) + f"}};\nconst struct {kind} *s = (const void *)raw_{variable};\n"
    return text + "".join(_number(name if "s->" in name else f"s->{name}") for name in fields) + "}\n"


def test_layouts_and_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    source = "#include <stdio.h>\n#include <arpa/inet.h>\n#include <linux/netlink.h>\n#include <linux/xfrm.h>\n"
    source += "#include <linux/udp.h>\n"
    source += "int main(void) {\n"
    source += "".join(_number(f"sizeof({name})") for name in SIZES) + "".join(map(_number, CONSTANTS))
    policy = POLICY.to_wire()
    template = policy[structs.POLICY.size + structs.ATTRIBUTE.size :]
    source += _fields("xfrm_usersa_info", "state", STATE.to_wire(), STATE_FIELDS)
    source += _fields("xfrm_userpolicy_info", "policy", policy, POLICY_FIELDS)
    source += _fields("xfrm_user_tmpl", "template", template, TEMPLATE_FIELDS)
    source += _fields("xfrm_encap_tmpl", "encap", Encapsulation(4500, 31_000).to_wire(), ENCAPSULATION_FIELDS)
    source += _fields("xfrm_userspi_info", "range", spi_request(STATE, 256, 300), RANGE_FIELDS)
    source += "return 0; }\n"
    (tmp_path / "header.c").write_text(source)
    subprocess.run(["gcc", "-o", "header", "header.c"], cwd=tmp_path, check=True, capture_output=True)
    said = subprocess.run([tmp_path / "header"], check=True, capture_output=True, text=True).stdout
    names = [name for table in TABLES for name in table]
    ours = [table[name] for table in TABLES for name in table]
    theirs = [int(line) for line in said.split()]
    assert list(zip(names, ours, strict=True)) == list(zip(names, theirs, strict=True))


def test_keys_are_not_shown() -> None:
    key = bytes(range(100, 120))
    state = State(STATE.source, STATE.destination, 256, 1, SELECTOR, 64, aead=Algorithm("rfc4106(gcm(aes))", key, 128))
    assert repr(key)[2:-1] not in repr(state)
    assert key in state.to_wire()
