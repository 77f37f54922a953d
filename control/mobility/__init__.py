"""Mobile IPv6 signalling: the Mobility Header, the binding cache and the rules around them (RFC 6275)."""
