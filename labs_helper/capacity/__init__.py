"""Memory: what a request needs, what is free, and the refusal where it does not fit.

| module | job |
| --- | --- |
| `estimate` | what a request needs, computed from the shapes |
| `limits` | what is free: the least of machine, container and GPU |
| `training` | what it takes to train an adapter |
| `require` | refuse what does not fit, and say what would |
| `report` | where the memory is, as a table |

The room is not called `memory`: that is the name of a public function of `labs_helper`.
"""
