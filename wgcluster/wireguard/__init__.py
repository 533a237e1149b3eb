"""Configs as text, both ways; road warriors; drift of the live peers; handshakes."""
