"""The whole house: a real daemon, a real LiteLLM, a provider of the suite's own."""
