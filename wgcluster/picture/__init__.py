"""Plan -> a picture of it: sites as areas, hosts, road warriors, links. What forwards stands out."""
