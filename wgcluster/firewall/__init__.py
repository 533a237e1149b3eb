"""Tables and their verdicts, the rules that a host needs, and where they go."""
