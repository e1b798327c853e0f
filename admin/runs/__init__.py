"""Runs: one process of the kit's own command each, that outlives the connection and the admin app.

The process writes its events straight into the run's file and holds the run's lock: whoever reads the file sees the
same thing, and whether the run is still alive is a question to the kernel, not to a process id.
"""
