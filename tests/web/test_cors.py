from server.web.cors import preflight, shared


def test_a_page_may_read_the_answer_and_its_headers() -> None:
    told = dict(shared(b"https://app.example"))
    assert told[b"access-control-allow-origin"] == b"https://app.example"
    assert told[b"access-control-expose-headers"] == b"*"
    assert told[b"vary"] == b"origin", "a cache must not show it to a page of another origin"
    assert b"access-control-allow-credentials" not in told


def test_a_preflight_tells_the_methods_and_the_headers_that_were_asked_for() -> None:
    wanted = {b"access-control-request-headers": b"authorization,content-type"}
    told = dict(preflight(wanted, ("GET", "DELETE")))
    assert told[b"access-control-allow-methods"] == b"GET, DELETE"
    assert told[b"access-control-allow-headers"] == b"authorization,content-type"
    assert b"access-control-allow-headers" not in dict(preflight({}, ("GET",)))
