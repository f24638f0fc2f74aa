"""Is it all there? What is said of it (``results``), and the two who say it.

``verify`` holds both sides against the ledger, by what is read back (``readback``) and what nobody claims
(``strangers``). ``independent`` asks no ledger: it holds both sides against each other, by their ``pairs`` and
``mismatches``. ``differences`` tells of two copies of a message how they differ; ``store`` keeps the latest proofs.
"""
