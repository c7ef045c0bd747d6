"""A process's one link to the store: connections, reading, beats, and the agents that live in the process."""
