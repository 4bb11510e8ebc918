"""What every room may use: settings, units, files, markup, addresses, servers, platforms, and translations.

Nothing here imports another room of the package, except `labs_helper.errors`.
"""
