"""Settings of the unit tests."""

from hypothesis import HealthCheck, settings

# A timing is no promise: a busy machine takes longer over an example. Where CI is set,
# Hypothesis has the same settings by itself.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("untimed")
