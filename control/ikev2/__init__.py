"""Internet Key Exchange version 2 (RFC 7296): messages, payloads and the engine that speaks them."""
