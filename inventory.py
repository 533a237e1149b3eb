"""Who exists. As shipped: the lab of script/demo, the article's three servers as containers.

Put your own servers in their place; what is wanted of them stands in group_data/. A server over SSH:

    ("root.example.org", {"ssh_user": "root", "wg_address": "10.0.0.2", "wg_endpoint": "203.0.113.2"}),

Its name in the cluster is then root.example.org, or what "wg_name" says.
"""

servers = [
    (
        "@docker/root",
        {
            "docker_identifier": "wgcluster-root",
            "wg_address": "10.0.0.2",
            "wg_endpoint": "198.18.1.2",
            # GitLab's web pages through the VPN alone; Let's Encrypt still reaches its challenge
            "nginx_vpn_only": [
                {
                    "file": "/etc/nginx/sites-available/gitlab",
                    "server_name": "git.example.org",
                    "locations": ["/"],
                    "public": ["/.well-known/acme-challenge"],
                }
            ],
        },
    ),
    (
        "@docker/cloud",
        {
            "docker_identifier": "wgcluster-cloud",
            "wg_address": "10.0.0.3",
            "wg_endpoint": "198.18.2.2",
            "wg_port": 51821,
        },
    ),
    # behind NAT: nobody can dial it, so it has no endpoint
    ("@docker/backup", {"docker_identifier": "wgcluster-backup", "wg_address": "10.0.0.4"}),
]

# where road warriors come in; group_data/gateways.py says what that means
gateways = ["@docker/root"]
