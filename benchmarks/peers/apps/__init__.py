"""The smallest apps of others that stream and publish, as their documentation says."""
