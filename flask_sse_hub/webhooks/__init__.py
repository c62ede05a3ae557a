"""Webhooks: views that receive only deliveries with their provider's signature.

The public names; import them from here. Knows requests and signatures. Does not know
the hub: your view publishes the events.
"""

from .schemes import HMAC, GitHub, Scheme, Secrets, StandardWebhooks, Stripe
from .view import Delivery, webhook

__all__ = [
    "HMAC",
    "Delivery",
    "GitHub",
    "Scheme",
    "Secrets",
    "StandardWebhooks",
    "Stripe",
    "webhook",
]
