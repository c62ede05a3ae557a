"""A storm of people who come and leave, over killed, stopped and reloaded workers."""
