"""What is done to a request besides routing it: the list `hooks` of ccproxy.yaml, and moderation.

    calls        a function of the user's own, called so that it can hold up nobody else
    draft        the request as such a function sees it, and what it may change of it
    built_in     the hooks that we bring along
    pipeline     all of them in their order, compiled once for each config
    moderation   what may not be sent to any provider

A request passes the pipeline in `gateway.app`, between its body and its lane. Both lanes send what
comes out of it.
"""
