"""``make demo``: move a small organisation between two real servers, break it in the middle, and prove the end.

``office`` is the organisation and its mail, ``stage`` the servers and the command line, ``proof`` looks at both
servers without alimail, ``__main__`` is the play.
"""
