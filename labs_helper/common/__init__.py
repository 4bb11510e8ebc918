"""What every room may use: settings, units, files, markup, addresses, platforms, and the door to translations.

Nothing here imports another room of the package, except `labs_helper.errors`.
"""
