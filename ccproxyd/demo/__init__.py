"""A provider without a model: it tries out rules, reloads and clients with no key and no network.

    server     the process: its wire to the daemon, uvicorn on the inherited listener
    provider   the ASGI application: Anthropic's messages, OpenAI's conversations and embeddings
    answers    the shapes of what it says

LiteLLM reaches it as the `api_base` of `anthropic/demo-LABEL` and `openai/demo-LABEL`; OpenAI's
clients add no version of their own, but the demo takes its paths with `/v1` and without.
"""
