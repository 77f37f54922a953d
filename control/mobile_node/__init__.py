"""The mobile node's side: a sans-IO node, an agent around it with a TUN device, and a simulator of thousands."""
