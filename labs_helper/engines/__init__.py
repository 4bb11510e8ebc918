"""Engines: render the exact prompt, then stream tokens. One protocol (see `base`)."""
