"""From a signed-off run to a folder that anybody can verify, and back: publish, verify, withdraw, purge."""
