"""The home agent as one engine: IKEv2, IPsec, registrations and takeover put together, without input or output."""
