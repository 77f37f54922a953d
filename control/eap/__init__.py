"""The Extensible Authentication Protocol (RFC 3748): packets, authenticator, peer and methods, without I/O."""
