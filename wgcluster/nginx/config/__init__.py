"""What a configuration means: servers, locations, access lists, rewrites, upstreams."""
