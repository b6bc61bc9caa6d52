import math

from benchmarks.serving import compared, markdown


def test_serving_is_near_what_was_published():
    found = list(compared())
    assert len(found) >= 8 and {c.quantity for c in found} == {
        "token_seconds",
        "requests_per_second",
    }
    assert all(abs(c.slower) < math.log(1.4) for c in found), markdown(found)
