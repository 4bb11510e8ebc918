"""The class board: an instructor sees, on one page, which exercises a room is stuck at. Nobody has to take part.

`rules` says what may be sent, `client` sends it from a learner's machine, and `storage`, `guard` and `server` are the
instructor's side, which needs the packages of the extra [board]. `membership` keeps which board was joined. This module
imports none of them, because learners do not have those packages.
"""
