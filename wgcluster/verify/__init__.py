"""Before a deploy: preflight and lock-out. After it: checks of the live host and of its next boot."""
