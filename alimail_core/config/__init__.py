"""The configuration: one TOML file, and what it comes to.

``tables`` say what may stand in the file, and ``load`` makes a migration of it. ``file`` and ``toml_lines`` read it,
with the line of each key; ``idle`` warns of what is said of accounts that there are not; ``text`` writes about it:
the commented file for ``init``, and the reference.
"""
