"""A host as it was observed, and what it needs beside the tunnel: paths, packages, module, sysctl, rules."""
