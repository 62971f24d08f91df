"""Files in folders, in archives and on remote file systems, and what keeps them from being read."""
