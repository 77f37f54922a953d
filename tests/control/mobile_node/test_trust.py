"""Which identities a node's patterns of trusted home agents cover."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.mobile_node.settings import NodeSettings


def trusts(pattern, identity):
    settings = NodeSettings(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), (pattern,))
    return settings.trusts(identity)


@pytest.mark.parametrize(
    ("pattern", "identity"),
    [
        ("ha1.example.org", "ha1.example.org"),
        ("*.example.org", "HA1.Example.org"),
        ("ha?.example.org", "ha2.example.org"),
        ("*.*.example.org", "ha1.west.example.org"),
        ("*@example.org", "ha1@example.org"),
        ("2001:db8:a1::1", "2001:db8:a1::1"),
    ],
)
def test_covered(pattern, identity):
    assert trusts(pattern, identity)


@pytest.mark.parametrize(
    ("pattern", "identity"),
    [
        ("ha1.example.org", "ha2.example.org"),
        ("*.example.org", "ha1.example.org.evil.net"),
        ("*.example.org", "ha1xexample.org"),
        ("*.example.org", "mn1@mn.example.org"),
        ("*.example.org", "mn1@example.org"),
        ("*.example.org", "mn1.mn.example.org"),
        ("*.example.org", "ha1.example.org\n"),
        ("ha?.example.org", "ha.example.org"),
        ("[a-z]a1.example.org", "ha1.example.org"),
        ("", "ha1.example.org"),
    ],
)
def test_not_covered(pattern, identity):
    assert not trusts(pattern, identity)


def test_nobody_is_trusted_without_a_pattern():
    settings = NodeSettings(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), ())
    assert not settings.trusts("ha1.example.org")


def test_the_key_is_not_shown():
    settings = NodeSettings(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), (), shared_key=b"secret")
    assert "secret" not in repr(settings)
