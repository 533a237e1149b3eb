"""The deploy: thin pyinfra operations that make a host what its HostPlan says."""

from tasks.speed import prepare_python

prepare_python()

from tasks.output import read_safely

read_safely()

from tasks.askpass import ask_safely

ask_safely()
