"""The picture as a Mermaid flowchart, for a README or a wiki."""

from __future__ import annotations

from textwrap import wrap

from wgcluster.picture.scene import heading, scene
from wgcluster.plan.plan import Plan


def mermaid(plan: Plan) -> str:
    """The text of a flowchart. Mermaid draws at most 500 links unless the page allows more (``maxEdges``)."""
    shown = scene(plan)
    number = {host.name: f"h{i}" for i, host in enumerate(plan.hosts)}
    lines = ["---", f"title: {heading(plan)!r}", "---", "flowchart TB"]
    for a, (area, hosts) in enumerate(shown.areas.items()):
        indent = "  "
        if area:
            lines.append(f'  subgraph a{a}["{area}"]')
            indent = "    "
        for host in hosts:
            text = "<br/>".join([host.name, *shown.details(host).split("; ")])
            kind = "forwards" if host.forwards else "undialled" if host.name in shown.undialled else "host"
            lines.append(f'{indent}{number[host.name]}["{text}"]:::{kind}')
        if area in shown.full:
            said = "<br/>".join(wrap(shown.full[area], 12))
            lines.append(f'{indent}m{a}(("{said}")):::mesh')
            lines += [f"{indent}{number[host.name]} --- m{a}" for host in hosts]
        lines += [
            f"{indent}{number[one]} --- {number[other]}"
            for one, other in shown.inside
            if one in {host.name for host in hosts}
        ]
        if area:
            lines.append("  end")
    lines += [f"  {number[one]} === {number[other]}" for one, other in shown.between]
    for c, client in enumerate(plan.clients):
        addresses = "<br/>".join(str(address.ip) for address in client.addresses)
        lines.append(f'  c{c}(["{client.name}<br/>{addresses}"]):::client')
        lines.append(f"  c{c} -.-> {number[client.gateway.name]}")
    lines += [
        "  classDef host fill:#fff,stroke:#456,color:#123",
        "  classDef forwards fill:#1f5f8b,stroke:#0d3a57,color:#fff,stroke-width:3px",
        "  classDef undialled fill:#fff,stroke:#456,color:#123,stroke-dasharray:4 3",
        "  classDef client fill:#fdf3e1,stroke:#b9770e,color:#5c3a05",
        "  classDef mesh fill:#eef3f7,stroke:#9fb3c2,color:#456",
    ]
    return "\n".join(lines) + "\n"
