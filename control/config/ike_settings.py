"""The sections [ike] and [ipsec] of the configuration file."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from control.config.section import Settings, about
from control.config.values import EspProposalText, IkeProposalText
from control.ike_workers.steering import MAX_WORKERS


class IkeSettings(Settings, frozen=True, kw_only=True):
    """IKEv2. Certificates are needed as soon as one mobile node authenticates by certificate."""

    certificate: Annotated[
        Path | None,
        about("PEM file with this home agent's certificate, followed by intermediate ones.", "ha1.pem"),
    ] = None
    private_key: Annotated[
        Path | None,
        about("PEM file with the certificate's key: RSA, ECDSA P-256 or P-384, or Ed25519. Mode 0600.", "ha1.key"),
    ] = None
    trust_anchors: Annotated[
        tuple[Path, ...],
        about("PEM files with the certificates that mobile nodes' chains have to end at.", ["ca.pem"]),
    ] = ()
    crls: Annotated[
        tuple[Path, ...],
        about(
            "Certificate revocation lists, PEM or DER: one for each authority, intermediate ones included. Files that "
            "have changed are read again within a minute.",
            ["ca.crl"],
        ),
    ] = ()
    crl_policy: Annotated[
        Literal["off", "soft", "hard"],
        about(
            "Whether revoked certificates are refused (soft), and so are those whose authority has no current list "
            "(hard). Off: nobody looks at the lists.",
            "soft",
        ),
    ] = "soft"
    proposals: Annotated[
        tuple[IkeProposalText, ...],
        about(
            "Algorithms for IKE SAs, most preferred first, in the words of strongSwan's swanctl.conf: aes128, aes192, "
            "aes256 (with sha256, sha384 or sha512), the same with gcm16, chacha20poly1305; prfsha256, prfsha384, "
            "prfsha512; x25519, ecp256, ecp384, ecp521, modp2048, modp3072, modp4096. Left out: AES-GCM, then AES-CBC "
            "with HMAC-SHA2, each with x25519, ecp256, ecp384.",
            ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519"],
        ),
    ] = ()
    esp_proposals: Annotated[
        tuple[EspProposalText, ...],
        about(
            "The same for child SAs; a group asks for perfect forward secrecy. Left out: AES-GCM, then AES-CBC with "
            "HMAC-SHA2, without a group of their own.",
            ["aes256gcm16", "aes128-sha256"],
        ),
    ] = ()
    redirect_to: Annotated[
        IPv6Address | None,
        about(
            "Another home agent that nodes are sent to, before they are served here, by IKEv2 (RFC 5685): those that "
            "begin by themselves and say that they can be redirected.",
            "2001:db8:a2::1",
        ),
    ] = None
    redirect_above: Annotated[
        int,
        about(
            "IKE SAs from which on nodes are sent to redirect_to; 0: all of them, to drain this home agent.",
            50_000,
            ge=0,
            le=16_777_216,
        ),
    ] = 0
    cookie_threshold: Annotated[
        int,
        about(
            "Half-open exchanges begun by others at which cookies are demanded (RFC 7296 section 2.6); 0: always.",
            256,
            ge=0,
            le=1_000_000,
        ),
    ] = 256
    mobike: Annotated[
        bool, about("Whether a node that began an IKE SA may move its end of it by MOBIKE (RFC 4555).", True)
    ] = True
    ike_lifetime_s: Annotated[
        float, about("An IKE SA gets new keys after this long, or up to a fifth earlier. 0: never.", 14400.0, ge=0)
    ] = 14400.0
    child_lifetime_s: Annotated[
        float, about("The same for the security associations that carry the signalling.", 3600.0, ge=0)
    ] = 3600.0
    workers: Annotated[
        int,
        about(
            "Processes that share the work of IKEv2; 1: the daemon alone does it. 0: one for each processor core but "
            "the first.",
            1,
            ge=0,
            le=MAX_WORKERS,
        ),
    ] = 1
    nat_traversal: Annotated[
        Literal["off", "auto", "force"],
        about(
            "Whether NATs on the way to nodes are looked for (RFC 7296 section 2.23): behind one, IKE uses port 4500 "
            "and ESP goes in UDP. Force: always, for networks that let no ESP through. Off: only port 500.",
            "auto",
        ),
    ] = "auto"
    nat_keepalive_s: Annotated[
        float,
        about(
            "A home agent that is itself behind a NAT sends something at least this often, to keep the NAT's mapping; "
            "0: never.",
            20.0,
            ge=0,
            le=3600,
        ),
    ] = 20.0
    liveness_interval_s: Annotated[
        float,
        about(
            "A node that has been silent for this long is asked for a sign of life, and loses its security "
            "associations if it gives none; its binding stays until its lifetime ends. 0: never.",
            300.0,
            ge=0,
            le=86_400,
        ),
    ] = 300.0


class IpsecSettings(Settings, frozen=True, kw_only=True):
    """ESP for the signalling with mobile nodes."""

    back_end: Annotated[
        Literal["auto", "kernel", "userspace"],
        about(
            "Who does ESP: the kernel's XFRM (kernel; `ip xfrm state` shows it), the daemon (userspace), or the kernel "
            "where it can (auto). Both `homeagent datapath load` and the daemon read this.",
            "auto",
        ),
    ] = "auto"
