"""Merkle trees: the log tree, its tiles, and the prefix tree that every map uses. Pure: bytes in, hashes out."""
