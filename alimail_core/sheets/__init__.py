"""Spreadsheets that people write and send: csv and xlsx, without trusting what is in them.

``files`` reads and writes plain tables (``text_workbook`` the plainest of xlsx, fast), ``columns`` finds columns by
their headings, ``options`` tell of sheets from another program. ``roster`` is the list of accounts, ``templates`` are
rosters to fill in.
"""
