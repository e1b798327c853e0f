"""Services as a Docker Swarm runs them (`engine = "swarm"`): what they are supplied with, how their roll-outs go."""
