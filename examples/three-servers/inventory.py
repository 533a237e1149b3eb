"""Who exists: three servers at three providers. What is wanted of them stands in group_data/."""

servers = [
    # the gateway: the laptop joins here
    (
        "root.example.org",
        {"ssh_user": "root", "wg_name": "root", "wg_address": "10.0.0.2", "wg_endpoint": "198.51.100.2"},
    ),
    # logs in as admin and becomes root by sudo
    (
        "cloud.example.org",
        {
            "ssh_user": "admin",
            "_sudo": True,
            "wg_name": "cloud",
            "wg_address": "10.0.0.3",
            "wg_endpoint": "203.0.113.77",
        },
    ),
    # behind NAT: the others cannot dial it, so it has no endpoint; it dials them
    ("backup.example.org", {"ssh_user": "root", "wg_name": "backup", "wg_address": "10.0.0.4"}),
]

# group_data/gateways.py says what that means
gateways = ["root.example.org"]
