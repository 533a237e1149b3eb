"""The main job: pyinfra inventory.py deploy.py [--dry --diff] [-y] [--limit HOST]."""

from pyinfra import state

from tasks.key import begin

# First of all: the key of the cluster's secrets takes as long to derive as all that follows takes to load.
begin(state)

from tasks.declaration import declaration

# Rows of the whole inventory, whatever --limit says -> Cluster.
declared = declaration(state)

from tasks.looks import looks

# Every host is looked at, meanwhile, before the first one is touched.
looks(state, declared.cluster).begin()

from tasks.controller import this_run
from tasks.firewall import firewall
from tasks.kernel import kernel
from tasks.nginx import nginx
from tasks.operations import save_keys
from tasks.packages import packages
from tasks.preflight import preflight
from tasks.wireguard import wireguard

# Cluster -> Plan; once for all hosts.
run = this_run(state)
preflight(run)

# From here on, one host's part of the plan.
save_keys(name="Save new keys on the controller", run=run)
packages(run=run)
firewall(run=run)  # before the kernel forwards anything
kernel(run=run)
wireguard(run=run)
nginx(run=run)
