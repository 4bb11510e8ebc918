"""The course in other languages, from the same sources (CONTRIBUTING.md, "Translate").

A sentence of a source is a *unit*. The translations of a lab's units are in `notebooks/locale/<language>/NN-slug.po`,
those of the package's messages in `labs_helper/locale/<language>/LC_MESSAGES/labs_helper.po`. `labs translate` writes
these files, `gate` refuses what changes more than the words, and `labs notebooks build` makes the notebooks.
"""
