"""Where each folder goes: pure functions.

``mapping`` decides, by the user's ``policy``, by the ``special_uses`` that names tell, and by the ``spelling`` of
names that the sink cannot take.
"""
