"""What ``--help`` says of the verbs of one machine."""

from typing import Final

URL: Final = "http://aliyun-alimail-desktop.oss-cn-hangzhou.aliyuncs.com/Windows/AlimailOutlookPlugin_0.1.3_201705181120.exe"
"""The link that Alibaba's documentation gives (of 2017, without encryption)."""

DOWNLOAD: Final = """Download the plug-in's installer, and tell what it is. It is not run.

The default link is old and plain http: https is tried first. What breaks off is taken up again by the next call. Of
the file are shown kind, version, date, SHA-256, and whose signature it bears; one that is not by --signer, or has not
--sha256, is deleted.

\b
Examples:
  alimail outlook download
  alimail outlook download --signer 'NAME' -o plugin.exe
  alimail outlook download --url https://intranet.example/plugin.exe --sha256 9f86d081...

\b
Exit code 0: it is there; 1: not to be had, or another file; 2: what was asked for is none.
JSON: {file, url, octets, sha256, kind, product, version, built, signer, certificate, certificate_expires,
       signature_problem, verified: [text]}
"""

INSTALL: Final = """Install the plug-in without questions, after it was verified that this is the right file.

Refused is what is unsigned, changed, signed by another, or signed with a certificate that has expired (unless
Windows vouches for a time stamp); --sha256 alone takes any file that has it. NSIS, Inno Setup, WiX and Windows
Installer are recognised; --silent-args reaches others to the letter. Outlook must be closed; it is not closed for
you. What a failed installation had registered is taken away again. On Linux and macOS it runs under Wine
(WINEPREFIX), to try an installer before it is rolled out.

\b
Examples:
  alimail outlook install --exe plugin.exe --signer 'NAME'
  alimail outlook install --exe plugin.exe --sha256 9f86d081...
  alimail outlook install --exe plugin.exe --signer 'NAME' --silent-args='/S /D=C:\\Program Files\\Mail'

\b
Exit code 0: installed; 3: installed, and Windows is to be restarted; 1: refused or failed; 2: bad usage.
"""

VERIFY: Final = """Tell whether the plug-in is installed and Outlook loads it, and what to do where it does not.

LoadBehavior, the lists of what Outlook has disabled, policies, the DLL and its signature, bitness, runtimes, classic
or new Outlook, and an account of Alibaba Mail. Nothing is changed.

\b
Examples:
  alimail outlook verify
  alimail outlook verify --json
  alimail outlook verify --progid Maker.Product
  WINEPREFIX=~/try alimail outlook verify       # under Wine, on Linux or macOS

\b
Exit code 0: nothing is in the way (warnings are not); 3: there is a fault; 2: which add-in is meant is not clear.
JSON: {on, progid, version, places: [key], dll, findings: [{rule, title, level, found, remedy}]}
      level: ok, note, warning, fault, unknown
"""

REPAIR: Final = """Put right what keeps Outlook from loading the plug-in, and verify again.

LoadBehavior back to 3, off Outlook's lists of what it has disabled, onto its list of what it may not disable. Each
change is asked about first. Policies are not touched: they belong to whoever manages them.

\b
Examples:
  alimail outlook repair
  alimail outlook repair --yes

\b
Exit code 0: nothing is in the way any more; 3: there is still a fault; 1: Outlook runs; 2: bad usage.
"""

UNINSTALL: Final = """Uninstall the plug-in by its own uninstaller, and see that it is gone.

\b
Examples:
  alimail outlook uninstall
  alimail outlook uninstall --progid Maker.Product

\b
Exit code 0: it is gone; 1: it is not, or was not there; 2: which add-in is meant is not clear.
"""
