"""The program that hands a password to sudo or su, made on the host by a script on standard input.

pyinfra 3.10 makes it by a command of several lines, which csh cannot read, and takes the first line that
comes back for its path, even if a ``.bashrc`` printed it. What its program for su starts can read nothing.
"""

from __future__ import annotations

import shlex

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.connectors import util

from tasks.scripts import REMOTE, answer, question

_MAKE = """\
set -e
program=$(mktemp {folder}/pyinfra-askpass-XXXXXXXXXXXX)
cat >"$program" <<'END'
#!/bin/sh
printf '%s\\n' "${name}"
{more}
END
chmod 755 "$program"
echo "$program"
"""
# su reads one line and leaves the rest (misc_conv.c of Linux-PAM); sudo keeps its own standard input.
_MORE = {"sudo_askpass_path": "", "su_askpass_path": "exec cat"}


def ensure_program(host: Host, key: str, env_var: str, temp_dir: str | None = None) -> str:
    """The path of the program, once a run and folder. It holds no password: that comes in its environment.

    Raises:
        PyinfraError: it cannot be made.
    """
    folder = temp_dir or host.get_temp_dir_config()  # type: ignore[no-untyped-call]
    kept = f"{key}__{folder}"  # by this name pyinfra finds it to remove it
    if not host.connector_data.get(kept):
        made = _MAKE.format(folder=shlex.quote(folder), name=env_var, more=_MORE[key])
        _, output = host.run_shell_command(REMOTE, _stdin=question(made))
        try:
            (path, *_), status, said = answer(output.stdout_lines)
        except ValueError:
            path, status, said = "", 1, output.output_lines
        if status:
            raise PyinfraError(f"{host.name}: no program for the password: {' '.join(said)}")
        host.connector_data[kept] = path
    return str(host.connector_data[kept])


def ask_safely() -> None:
    """Replace pyinfra's way, for every connector."""
    util._ensure_askpass_set_for_host = ensure_program
