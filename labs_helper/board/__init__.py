"""The class board: an instructor sees, on one page, which exercises a room is stuck at. Nobody has to take part.

`rules` says what may be sent, `client` sends it from a learner's machine, and `storage`, `guard` and `server` are the
instructor's side, which alone needs the packages of the extra [board]. This module imports none of them, because every
`check` imports it.
"""
