"""Measures what complete key exchanges cost a home agent, beside what their cryptography alone costs."""
