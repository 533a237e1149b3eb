"""Who exists: a server with GitLab, which is the gateway too, and a runner. See group_data/ for the rest."""

servers = [
    (
        "git.example.org",
        {
            "wg_name": "git",
            "wg_address": "10.0.0.2",
            "wg_endpoint": "198.51.100.2",
            # GitLab's web pages through the VPN alone; Let's Encrypt still reaches its challenge
            "nginx_vpn_only": [
                {
                    "file": "/etc/nginx/sites-available/gitlab",
                    "server_name": "git.example.org",
                    "locations": ["/"],
                    "public": ["/.well-known/acme-challenge"],
                    # the HTTPS server of the site has no such location: it is added, and looks here
                    "acme_root": "/var/www/letsencrypt",
                }
            ],
        },
    ),
    (
        "runner.example.org",
        {"wg_name": "runner", "wg_address": "10.0.0.3", "wg_endpoint": "203.0.113.3"},
    ),
]

# group_data/gateways.py says what that means
gateways = ["git.example.org"]
