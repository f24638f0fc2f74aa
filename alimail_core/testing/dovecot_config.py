"""The configuration of a private Dovecot 2.3."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alimail_core.testing.servers import Dovecot

_FRAME = """\
base_dir = {run}
state_dir = {run}
log_path = {base}/dovecot.log
mail_log_prefix = "%s(%u)<%p>: "
protocols = {protocols}
listen = 127.0.0.1
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
default_client_limit = 2000
default_vsz_limit = 1 G
ssl = yes
ssl_cert = <{run}/certificate.pem
ssl_key = <{run}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {mail_user}
mail_gid = {mail_group}
mail_location = {mail_location}
mail_fsync = {fsync}
mail_max_userip_connections = {max_connections}
mail_plugins = quota listescape
service anvil {{
  chroot =
  # No waiting after a wrong password.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {server.imap_port}
  }}
  inet_listener imaps {{
    port = {server.imaps_port}
  }}
}}
protocol imap {{
  mail_plugins = quota listescape imap_quota
  {capability}
}}
passdb {{
  driver = passwd-file
  args = {run}/closed
  deny = yes
}}
passdb {{
  driver = passwd-file
  args = {run}/masters
  master = yes
  result_success = continue
}}
passdb {{
  {passwords}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {run}/users
  override_fields = home={base}/mail/%u
}}
userdb {{
  driver = static
  args = home={base}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {server.delimiter}
  prefix = {server.prefix}
{mailboxes}}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:bytes={quota}
  quota_grace = 0
}}
{pop3}
{server.settings}
"""

_POP3 = """\
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {server.pop3_port}
  }}
  inet_listener pop3s {{
    port = {server.pop3s_port}
  }}
}}
"""

_MAILBOX = """\
  mailbox "{name}" {{
    auto = subscribe
    special_use = {attribute}
  }}
"""


def write(server: Dovecot, run: Path, base: Path, mail: pwd.struct_passwd, group: str) -> str:
    """Return the configuration's text: sockets in ``run``, mail and log in ``base``, mail kept as ``mail``."""
    root = os.geteuid() == 0
    return _FRAME.format(
        server=server,
        run=run,
        base=base,
        protocols="imap pop3" if server.pop3 else "imap",
        internal_user="dovecot" if root else mail.pw_name,
        internal_group="dovecot" if root else group,
        login_user="dovenull" if root else mail.pw_name,
        mail_user=mail.pw_name,
        mail_group=group,
        mail_location=_mail_location(server),
        fsync="optimized" if server.fsync else "never",
        max_connections=server.max_connections,
        capability=f"imap_capability = {server.capability}" if server.capability else "",
        passwords=(
            f"driver = passwd-file\n  args = username_format=%u {run}/passwords"
            if server.own_passwords
            else f"driver = static\n  args = password={server.password}"
        ),
        quota=server.quota_octets or 0,
        mailboxes="".join(
            _MAILBOX.format(name=name, attribute=attribute) for name, attribute in server.special_use.items()
        ),
        pop3=_POP3.format(server=server) if server.pop3 else "",
    )


def _mail_location(server: Dovecot) -> str:
    if server.mail_format != "maildir":
        return f"{server.mail_format}:~/mail"
    if server.layout == "fs":
        # An inbox beside the other folders, so that none of them can be taken for its ``cur`` or ``new``.
        return "maildir:~/mail:INBOX=~/inbox:LAYOUT=fs"
    return f"maildir:~/mail:LAYOUT={server.layout}"
