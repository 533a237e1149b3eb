"""Who exists: two sites of three servers. What is wanted of them stands in group_data/.

Only the gateway of a site has a public address. Servers of one site dial each other in its own network, at
wg_site_endpoint.
"""

berlin = [
    (
        "gw.berlin.example.org",
        {
            "wg_name": "gw-berlin",
            "wg_address": "10.0.0.1",
            "wg_endpoint": "198.51.100.10",
            "wg_site_endpoint": "192.168.10.1",
        },
    ),
    (
        "web.berlin.example.org",
        {"wg_name": "web-berlin", "wg_address": "10.0.0.2", "wg_site_endpoint": "192.168.10.2"},
    ),
    (
        "db.berlin.example.org",
        {"wg_name": "db-berlin", "wg_address": "10.0.0.3", "wg_site_endpoint": "192.168.10.3"},
    ),
]

paris = [
    (
        "gw.paris.example.org",
        {
            "wg_name": "gw-paris",
            "wg_address": "10.0.0.17",
            "wg_endpoint": "203.0.113.20",
            "wg_site_endpoint": "192.168.20.1",
            # printers and the like, which run no WireGuard: reached through this gateway
            "wg_subnets": ["192.168.21.0/24"],
        },
    ),
    (
        "web.paris.example.org",
        {"wg_name": "web-paris", "wg_address": "10.0.0.18", "wg_site_endpoint": "192.168.20.2"},
    ),
    (
        "db.paris.example.org",
        {"wg_name": "db-paris", "wg_address": "10.0.0.19", "wg_site_endpoint": "192.168.20.3"},
    ),
]

gateways = ["gw.berlin.example.org", "gw.paris.example.org"]
