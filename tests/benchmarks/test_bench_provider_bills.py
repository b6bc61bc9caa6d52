from benchmarks.provider_bills import all_compared, markdown


def test_our_bills_are_those_that_were_published():
    found = all_compared()
    assert {one.provider for one in found} >= {"fireworks", "ori", "together", "openai", "azure"}
    assert max(abs(one.error) for one in found) < 0.005
    assert any(one.published == 40.59 and abs(one.ours - 40.5) < 1e-9 for one in found)


def test_the_table_shows_both():
    text = markdown(all_compared())
    assert "$40.59" in text and "$40.50" in text and text.count("\n| ") == len(all_compared()) + 1
