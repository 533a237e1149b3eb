"""The main job: pyinfra inventory.py deploy.py [--dry --diff] [-y] [--limit HOST]."""

from pyinfra import state

from tasks.start import start

# Rows of the whole inventory, whatever --limit says -> Cluster -> Plan, proved; every host looked at.
run = start(state)

from tasks.firewall import firewall
from tasks.hosts_file import names
from tasks.kernel import kernel
from tasks.nginx import nginx
from tasks.operations import save_keys
from tasks.packages import packages
from tasks.wireguard import wireguard

# From here on, one host's part of the plan.
save_keys(name="Save new keys on the controller", run=run)
packages(run=run)
firewall(run=run)  # before the kernel forwards anything
kernel(run=run)
wireguard(run=run)
nginx(run=run)
names(run=run)
