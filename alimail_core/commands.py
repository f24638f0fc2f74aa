"""What a plug-in's own verb works with, beside the names of ``alimail_core``: how to read sheets, and how to show.

A verb that shows by these looks like the core's own: untrusted text is escaped, a table fits its terminal, JSON is
ASCII. The verbs of ``alimail exchange`` stand on it.
"""

from alimail_core.cli.output import complain, remark_lines, say, table, write_json
from alimail_core.files import written_whole
from alimail_core.sheets.columns import Columns, Findings, Table, read_table, unfit, wanted
from alimail_core.sheets.files import Row
from alimail_core.sheets.roster import RosterRow, address_fault, read_roster
from alimail_core.sheets.templates import write_accounts
from alimail_core.text import cell, printable, same_address

__all__ = [
    "Columns",
    "Findings",
    "RosterRow",
    "Row",
    "Table",
    "address_fault",
    "cell",
    "complain",
    "printable",
    "read_roster",
    "read_table",
    "remark_lines",
    "same_address",
    "say",
    "table",
    "unfit",
    "wanted",
    "write_accounts",
    "write_json",
    "written_whole",
]
