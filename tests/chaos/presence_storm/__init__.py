"""A storm of presence: joins and leaves over killed, stopped and reloaded workers."""
