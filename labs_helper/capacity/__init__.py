"""Memory: what a request needs (`estimate`), what is free (`limits`), and the refusal where it does not fit (`require`).

The room is not called `memory`: that is the name of a public function of `labs_helper`.
"""
