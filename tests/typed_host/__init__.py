"""A site in types: every public name of the package, used as the documentation uses it.

``python -m tests.typed_host`` checks it against the installed wheel, with mypy and with pyright.
"""
