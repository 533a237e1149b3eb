"""Who exists: 40 servers, eight of them behind NAT. What is wanted of them stands in group_data/.

An inventory is a Python program: of servers that are all alike the list can be computed.
"""

# reachable from everywhere: node01 to node32
public = [
    (
        f"node{number:02}.example.org",
        {
            "wg_name": f"node{number:02}",
            "wg_address": f"10.0.0.{number}",
            "wg_endpoint": f"203.0.113.{number}",
        },
    )
    for number in range(1, 33)
]

# behind NAT, so without an endpoint: node33 to node40
behind_nat = [
    (f"node{number}.example.org", {"wg_name": f"node{number}", "wg_address": f"10.0.0.{number}"})
    for number in range(33, 41)
]
