"""What can go wrong between here and a model server, in a learner's words.

Only texts go into these errors, never the library's own error: that holds the request, and so the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.catalog import endpoints
from labs_helper.common.translate import _, _n
from labs_helper.engines.endpoint_client import RETRIES, Compressed, NoList, Refused, SentElsewhere
from labs_helper.errors import EndpointFailed

if TYPE_CHECKING:
    from labs_helper.catalog.endpoints import Endpoint
    from labs_helper.engines.stream_reader import ServerError, StreamReader


def explain(
    error: BaseException, endpoint: Endpoint, model: str | None, pieces: int, proxy: str = ""
) -> EndpointFailed:
    """The sentences for an error of a request.

    Args:
        error: what was raised.
        endpoint: which server was asked.
        model: which of its models; None if it was asked for its list.
        pieces: how many pieces of the answer had come.
        proxy: host and port of the proxy in between; "" for none.
    """
    host = (
        endpoint.host if not proxy else _("{host} (through the proxy {proxy})").format(host=endpoint.host, proxy=proxy)
    )
    if isinstance(error, Refused):
        return _explain_status(error, endpoint, host, model)
    if isinstance(error, SentElsewhere):
        return _sent_elsewhere(error, host)
    if isinstance(error, NoList):
        return EndpointFailed(
            _("{host} does not list its models.").format(host=host),
            _("Set LABS_ENDPOINT_MODEL, and check LABS_ENDPOINT: it often ends in /v1."),
        )
    if isinstance(error, Compressed):
        return EndpointFailed(
            _("{host} sends its answer compressed, which was not asked for.").format(host=host),
            _("Switch compression off at the server, or at the proxy in front of it."),
        )
    return _explain_connection(error, endpoint, host, pieces, proxy)


def verdict(reader: StreamReader, host: str, pieces: int) -> EndpointFailed | None:
    """What is wrong with an answer that was read to its end; None for a whole one."""
    if reader.error is not None:
        return _error_inside(reader.error, host, pieces)
    if not reader.chat:
        return EndpointFailed(
            _("{host} answered, but not in the form of a chat.").format(host=host),
            _("Check LABS_ENDPOINT: it is the address before /chat/completions, and often ends in /v1."),
        )
    if reader.unreadable:
        return EndpointFailed(
            _n(
                "{host} sent {count} part of its answer in a form that cannot be read.",
                "{host} sent {count} parts of its answer in a form that cannot be read.",
                reader.unreadable,
            ).format(host=host, count=reader.unreadable),
            _with_part(
                _("Ask again. If it happens each time, the server does not speak OpenAI's form well enough."), pieces
            ),
        )
    if not reader.ended:
        return broke_off(host, pieces)
    return None


def broke_off(host: str, pieces: int) -> EndpointFailed:
    """An answer without an end."""
    return EndpointFailed(
        _n(
            "{host} broke off after {count} piece of the answer.",
            "{host} broke off after {count} pieces of the answer.",
            pieces,
        ).format(host=host, count=pieces),
        _with_part(_("Ask again. If it happens each time, look at the server's own log."), pieces),
    )


def _with_part(advice: str, pieces: int) -> str:
    return advice + " " + _("`model.last` has the part that arrived.") if pieces else advice


def _error_inside(error: ServerError, host: str, pieces: int) -> EndpointFailed:
    words = endpoints.shown(error.message) or _("no words")
    code = endpoints.shown(error.code)
    said = f"{code}: {words}" if code else words
    if pieces:
        what = _n(
            "{host} broke off after {count} piece of the answer and says: {said}.",
            "{host} broke off after {count} pieces of the answer and says: {said}.",
            pieces,
        )
    else:
        what = _("{host} did not answer and says: {said}.")
    advice = _("The server said this itself: look at its log, ask something shorter, or ask again later.")
    return EndpointFailed(what.format(host=host, count=pieces, said=said.rstrip(".")), _with_part(advice, pieces))


def _explain_connection(error: BaseException, endpoint: Endpoint, host: str, pieces: int, proxy: str) -> EndpointFailed:
    """An error of the HTTP library."""
    import httpx

    if isinstance(error, httpx.ProxyError):
        return EndpointFailed(
            _("The proxy {proxy} does not let the request through to {host} ({said}).").format(
                proxy=proxy, host=endpoint.host, said=endpoints.shown(str(error))
            ),
            _("Check HTTP_PROXY and HTTPS_PROXY, or add the server to NO_PROXY."),
        )
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        if pieces:
            what = _("{host} said nothing more for {seconds:g} seconds.")
        else:
            what = _("{host} did not answer within {seconds:g} seconds.")
        return EndpointFailed(
            what.format(host=host, seconds=endpoint.timeout),
            _with_part(
                _("It may be loading a model or be busy: ask again. LABS_ENDPOINT_TIMEOUT=300 waits longer."), pieces
            ),
        )
    if pieces:
        return broke_off(host, pieces)
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return EndpointFailed(
            _("{host} closed the connection without an answer.").format(host=host),
            _("Look at the server's own log, and check LABS_ENDPOINT: is it http or https, and the right port?"),
        )
    if isinstance(error, httpx.TransportError):
        where = (
            endpoint.url if not proxy else _("{url} through the proxy {proxy}").format(url=endpoint.url, proxy=proxy)
        )
        return EndpointFailed(
            _("Nothing answers at {where} (tried {count} times).").format(where=where, count=RETRIES + 1),
            _("Start the server, or check LABS_ENDPOINT, the network and the firewall.")
            if not proxy
            else _("Check the proxy and LABS_ENDPOINT, or add the server to NO_PROXY."),
        )
    return EndpointFailed(
        _("{host} answered something that is not a chat answer ({said}).").format(host=host, said=type(error).__name__),
        _("Check LABS_ENDPOINT: it is the address before /chat/completions, and often ends in /v1."),
    )


def _sent_elsewhere(error: SentElsewhere, host: str) -> EndpointFailed:
    origin = endpoints.shown(error.origin)
    if not origin:
        return EndpointFailed(
            _("{host} redirects requests to something that is not an address.").format(host=host),
            _("Check LABS_ENDPOINT."),
        )
    return EndpointFailed(
        _("{host} redirects requests to {origin}. Your prompt and key were not sent there.").format(
            host=host, origin=origin
        ),
        _("If you trust that server, set LABS_ENDPOINT to its own address."),
    )


def _explain_status(error: Refused, endpoint: Endpoint, host: str, model: str | None) -> EndpointFailed:
    code, said = error.status, endpoints.shown(error.said) or _("no words")
    if code == 407:
        return EndpointFailed(
            _("{host} wants a user and a password for the proxy (407).").format(host=host),
            _("Put them into HTTP_PROXY and HTTPS_PROXY, or add the server to NO_PROXY."),
        )
    if code in (401, 403):
        what = _("{host} does not accept the key in LABS_ENDPOINT_KEY ({code}).")
        return EndpointFailed(
            (what if endpoints.has_key() else _("{host} wants a key ({code}).")).format(host=host, code=code),
            _(
                "Set LABS_ENDPOINT_KEY in the environment before you start JupyterLab, never in a notebook; "
                "the key may also have expired, or may not be valid for this model."
            ),
        )
    if code == 404 and model is None:
        return EndpointFailed(
            _("{host} does not list its models (404: {said}).").format(host=host, said=said),
            _("Set LABS_ENDPOINT_MODEL, and check LABS_ENDPOINT: it often ends in /v1."),
        )
    if code == 404:
        return EndpointFailed(
            _("{host} does not know the model {model!r}, or {url} is not where it answers (404: {said}).").format(
                host=host, model=model, url=endpoint.url, said=said
            ),
            _(
                "Check LABS_ENDPOINT_MODEL (`labs` cannot guess it), and that LABS_ENDPOINT ends as the server wants "
                "it, often in /v1."
            ),
        )
    if code == 410:
        return EndpointFailed(
            _("{host} no longer has {model} (410: {said}).").format(host=host, model=model, said=said),
            _('It was retired there. Run it on your own machine: load("instruct"), or take another server or model.'),
        )
    if code == 429:
        return EndpointFailed(
            _("{host} asks for fewer requests (429: {said}); {count} attempts were turned away.").format(
                host=host, said=said, count=RETRIES + 1
            ),
            _(
                "Wait a minute and ask again. In a class, let one machine ask for everyone, or use models on your "
                "own machine."
            ),
        )
    if code >= 500:
        return EndpointFailed(
            _("{host} failed to answer ({code}: {said}); it was asked {count} times.").format(
                host=host, code=code, said=said, count=RETRIES + 1
            ),
            _("The problem is on the server: wait and ask again, or look at its log."),
        )
    return EndpointFailed(
        _("{host} did not accept the request ({code}: {said}).").format(host=host, code=code, said=said),
        _(
            "A shorter prompt, fewer max_tokens, no pictures, schema or top_logprobs may help: servers differ in what "
            "they accept."
        ),
    )
