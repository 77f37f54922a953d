"""The status page: one document of HTML, and the JSON it asks for each second."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict
from functools import cache
from importlib.resources import files

from control.metrics.attention import needs_attention
from control.metrics.snapshot import Snapshot


@cache
def page() -> bytes:
    """The document. It holds nothing of this home agent: everything comes from ``/status.json``."""
    return files(__package__).joinpath("status_page.html").read_bytes()


@cache
def content_security_policy() -> str:
    """Allows the page its own style and script, by their hashes, and to ask where it came from; nothing else."""
    text = page().decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(text, 'script')}",
            f"style-src {_hashes(text, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(text: str, element: str) -> str:
    found = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def status_document(snapshot: Snapshot, wall: float) -> bytes:
    """What the page shows: the status, the course of the latest takeover, and what needs attention.

    Args:
        snapshot: the numbers.
        wall: seconds since the epoch.
    """
    bootstrap = snapshot.bootstrap
    document = {
        **snapshot.to_status(),
        "time": wall,
        "history": [
            [round(sample.at - bootstrap.started_at, 2), sample.recovered, sample.given_up, sample.in_flight]
            for sample in bootstrap.history
        ],
        "attention": [asdict(each) for each in needs_attention(snapshot, wall)],
    }
    return json.dumps(document, separators=(",", ":")).encode()
