"""nginx site files: read as nginx reads them, guarded, audited.

Pure: text in, text out. Nothing here touches a file or a host.
"""

from .audit import Finding, audit
from .deployed import Deployed, as_deployed
from .effective import effective, parse_dump
from .errors import Fault, NginxError, NginxSyntaxError
from .guard import guard
from .lexer import lex
from .site import allow_list, list_path
from .splice import MARK, unguard
from .tree import Directive, parse

__all__ = [
    "MARK",
    "Deployed",
    "Directive",
    "Fault",
    "Finding",
    "NginxError",
    "NginxSyntaxError",
    "allow_list",
    "as_deployed",
    "audit",
    "effective",
    "guard",
    "lex",
    "list_path",
    "parse",
    "parse_dump",
    "unguard",
]
