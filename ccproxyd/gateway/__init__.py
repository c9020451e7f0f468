"""The data path: one process, on the listener that the daemon owns.

A request's way through this room:

    server     the process: its wire to the daemon, uvicorn on the inherited listener
    app        one request: path, key, body, hooks, decision, lane, answer, report
    paths      which paths are carried, which are answered here, which stay closed
    auth       whose request it is
    exchange   a request and its answer, as the server holds them
    bodies     the bytes of a request, and what they ask for
    forms      those of a form, as LiteLLM will read them
    probes     what is answered here: liveness, the list of models
    table      what a config means for requests: router, keys, deployments
    hooks/     what is done to a request besides routing it, and what may not be sent
    budgets    what a used-up budget means for a request
    plan       from a decision to what the lanes are asked for
    counts     how many tokens a request has, where that is asked
    pool       the workers, and which of them takes the next request
    lanes/     the ways out of the house
    websocket  a realtime conversation's frames, there and back
    usage      the tokens that an answer says it cost
    estimates  the same where a stream does not say it
    prices     where LiteLLM's price file is
    replies    our own answers, in the client's own shape
    browsers   what a page's browser wants to be told
    report     what the daemon hears of each request: numbers and names, never content
    later      what nobody waits for

LiteLLM is never imported here: this process starts in a third of a second and stays small.
"""
