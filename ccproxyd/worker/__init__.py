"""LiteLLM's room: the one place that imports it, and the process that serves it.

    environment   what must hold before the import; imports nothing of LiteLLM
    doors         what we use of LiteLLM, named; a test for each fails when LiteLLM moves
    messages      doors too: a message's way through LiteLLM, where it is another with us
    endings       doors too: a completion's stream ends as its provider says, or is cut
    mended        doors too: what else is otherwise, as how often it asks
    spending      doors too: the price of what had come of a stream that broke
    verdict       the gateway's decision as it comes with a request, sealed
    intake        the ASGI layer around LiteLLM's app: takes the verdict off, counts
    carried       what of a client's headers and query is for Anthropic alone
    abandoned     a call whose client has gone is ended, where LiteLLM would go on with it
    handler       LiteLLM's callback: applies the verdict, reports the price
    outgoing      what a request becomes for the deployment that LiteLLM has chosen
    failures      what a provider really said, out of LiteLLM's exceptions
    words         the same out of LiteLLM's words
    events        an error event of LiteLLM's in a stream, with what really happened
    unreadable    whether an exception is about an answer that is none
    underway      what is known of a request on its way through LiteLLM
    transcripts   a transcription as it was asked for, out of LiteLLM's JSON
    answering     the layer on an answer's way out: tells failures, sorts headers
    standalone    the handler's own decision, in a plain `litellm --config`
    logs          nothing private leaves: one handler, two sinks, no text once requests come
    selftest      the proof, before a worker is ready, that the handler is called
    order         what the daemon says: what to serve, and to stop
    serve         what an order asks for, from LiteLLM's start to its shutdown
    process       the process around it: channel, signals, and how it says that it failed

A worker is started with one end of a socketpair and waits there for its order. Importing LiteLLM
(`process.load`) takes seconds and depends on nothing in the order, so it is a step of its own: a
template can take it once and fork for each order that comes.
"""
