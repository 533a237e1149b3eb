"""The deploy: thin pyinfra operations that make a host what its HostPlan says."""
