"""nginx site files: read as nginx reads them, guarded, audited.

Pure: text in, text out. Nothing here touches a file or a host.
"""

from .errors import Fault, NginxError, NginxSyntaxError
from .guard import guard
from .lexer import lex
from .site import allow_list, list_path
from .splice import MARK, unguard
from .tree import Directive, parse

__all__ = [
    "MARK",
    "Directive",
    "Fault",
    "NginxError",
    "NginxSyntaxError",
    "allow_list",
    "guard",
    "lex",
    "list_path",
    "parse",
    "unguard",
]
