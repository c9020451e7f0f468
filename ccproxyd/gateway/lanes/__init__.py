"""The ways out of the house: each takes a decided request and streams an answer back.

choice      which lane a request takes, and why
direct      to the provider itself
litellm     to a worker, and through LiteLLM
answers     what both do with an answer
upstream    the connections to providers, and what is kept of them
connection  HTTP/1.1 on one connection
fetched     the same of an answer that aiohttp has fetched
"""
