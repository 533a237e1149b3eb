"""Plan -> a picture of it: sites as areas, hosts, road warriors, links. What forwards stands out."""

from wgcluster.picture.mermaid import mermaid
from wgcluster.picture.svg import svg

__all__ = ["mermaid", "svg"]
