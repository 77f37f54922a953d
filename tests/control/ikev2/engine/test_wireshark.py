"""An independent reader: tshark decrypts what this engine has encrypted, with the rows of the key log."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapWriter

from control.ikev2.key_log import wireshark_line
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS, IkeProposal

SUITES = [
    IkeProposal(
        proposal.encryption[index : index + 1], proposal.integrity[hmac : hmac + 1], proposal.prfs, proposal.groups
    )
    for proposal, index, hmac in (
        (DEFAULT_IKE_PROPOSALS[0], 0, 0),
        (DEFAULT_IKE_PROPOSALS[0], 1, 0),
        (DEFAULT_IKE_PROPOSALS[1], 0, 0),
        (DEFAULT_IKE_PROPOSALS[1], 1, 1),
        (DEFAULT_IKE_PROPOSALS[1], 1, 2),
    )
]


def capture(path, datagrams):
    with PcapWriter(str(path), linktype=101) as writer:
        for datagram in datagrams:
            packet = IPv6(src=str(datagram.local.address), dst=str(datagram.remote.address)) / UDP(
                sport=datagram.local.port, dport=datagram.remote.port
            )
            writer.write(packet / datagram.data)


def dissect(path, row, *fields):
    """One list per packet with the values of ``fields``."""
    columns = [argument for field in fields for argument in ("-e", field)]
    command = [
        "tshark",
        "-r",
        str(path),
        "-o",
        f"uat:ikev2_decryption_table:{wireshark_line(*row)}",
        "-T",
        "fields",
        *columns,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.encryption[0][1]}-{len(suite.integrity)}")
def test_tshark_decrypts_a_whole_conversation(pair, tmp_path, suite):
    assert shutil.which("tshark"), "install tshark (apt-get install tshark)"
    rows = []
    pair.agent.configure(ike_proposals=(suite,), key_log=lambda *row: rows.append(row))
    sa, other = pair.established()
    sa.create_child(pair.request(), pair.network.now)
    pair.network.run()
    other.probe_liveness(pair.network.now)
    pair.network.run()
    sa.delete(pair.network.now)
    pair.network.run()
    path = tmp_path / "ike.pcap"
    capture(path, pair.network.carried)
    (row,) = rows
    packets = dissect(
        path,
        row,
        "isakmp.exchangetype",
        "isakmp.typepayload",
        "isakmp.id.data.fqdn",
        "isakmp.id.data.user_fqdn",
        "isakmp.ts.start_ipv6",
        "_ws.malformed",
        "_ws.expert.severity",
        "isakmp.enc.icd",
    )
    exchanges = [int(packet[0]) for packet in packets]
    assert exchanges == [34, 34, 35, 35, 36, 36, 37, 37, 37, 37]
    request, answer = packets[2], packets[3]
    # Decrypted payloads: IDi, IDr, AUTH, N, SA, TSi, TSr.
    assert request[1].split(",")[:7] == ["46", "35", "36", "39", "41", "33", "2"]
    assert request[2:4] == ["ha1.example.org", "mn1@example.org"]
    assert request[4] == "2001:db8:a1::1,2001:db8:100::1001"
    assert answer[3] == "mn1@example.org"
    for packet in packets:
        assert packet[5] == ""
        assert all(int(severity) <= 0x200000 for severity in packet[6].split(",") if severity), packet


@pytest.mark.parametrize("proposal", DEFAULT_IKE_PROPOSALS, ids=["gcm", "cbc"])
def test_tshark_decrypts_a_message_in_fragments(pair, pki, tmp_path, proposal):
    assert shutil.which("tshark"), "install tshark (apt-get install tshark)"
    rows = []
    pair.agent.configure(ike_proposals=(proposal,), key_log=lambda *row: rows.append(row))
    middle = pki.authority("intermediate", pki.root, kind="rsa")
    for peer in (pair.agent, pair.node):
        peer.policy.key = None
        credentials = pki.credentials(str(peer.identity), "rsa", middle, intermediates=(middle.certificate,))
        peer.configure(credentials=credentials, trust_anchors=(pki.root.certificate,))
    pair.established()
    path = tmp_path / "ike.pcap"
    capture(path, pair.network.carried)
    (row,) = rows
    packets = dissect(
        path,
        row,
        "isakmp.exchangetype",
        "isakmp.frag.number",
        "isakmp.frag.total",
        "isakmp.typepayload",
        "isakmp.id.data.fqdn",
        "isakmp.id.data.user_fqdn",
        "_ws.malformed",
        "_ws.expert.severity",
    )
    assert [packet[:3] for packet in packets[2:]] == [["35", "1", "2"], ["35", "2", "2"]] * 2
    assert [packet[3] for packet in packets[2::2]] == ["53", "53"]
    # Fragment, IDi, certificates, CERTREQ, IDr, AUTH, N, SA; fragment, IDr, certificates, AUTH, N, SA.
    assert packets[3][3].startswith("53,35,37,37,38,36,39,41,33,")
    assert packets[5][3].startswith("53,36,37,37,39,41,33,")
    assert packets[3][4:6] == ["ha1.example.org", "mn1@example.org"]
    for packet in packets:
        assert packet[6] == ""
        assert all(int(severity) <= 0x200000 for severity in packet[7].split(",") if severity), packet
