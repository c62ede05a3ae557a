"""Answers through a storm of killed, reloaded and stopped workers."""
