"""Mathematics of keys and commitments: bytes in, a value or an error out."""
