"""Where each folder goes: pure functions. ``mapping`` decides, by the user's ``policy``, the ``special_uses`` that names
tell, and the ``spelling`` of names that the sink cannot take.
"""
