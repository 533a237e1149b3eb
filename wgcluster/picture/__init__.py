"""Pictures of a plan: sites as areas, hosts, road warriors, links. Hosts that forward stand out."""
