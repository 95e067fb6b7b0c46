"""The running worst case of a portfolio equals the one worked out from scratch."""

from hypothesis import given
from hypothesis import strategies as st

from pr3dict.engine.pretrade import LossBook

LOSSES = st.integers(-1000, 1000)
EVENT_OF = {0: 0, 1: 0, 2: 0, 3: 1, 4: -1, 5: -1}


def worst(markets: list[tuple[int, int]]) -> int:
    """Over every outcome of one exclusive event: at most one market ends YES."""
    if not markets:
        return 0
    nobody = sum(if_no for _, if_no in markets)
    return max(0, nobody, *(nobody - if_no + if_yes for if_yes, if_no in markets))


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENT_OF)), LOSSES, LOSSES), max_size=25))
def test_loss_book_against_the_sum_over_outcomes(changes):
    book, now = LossBook(), {}
    for market, if_yes, if_no in changes:
        book.set(market, EVENT_OF[market], if_yes, if_no)
        now[market] = (if_yes, if_no)
    groups = {}
    for market, pair in now.items():
        event = EVENT_OF[market]
        groups.setdefault(event if event >= 0 else ("alone", market), {})[market] = pair
    total = sum(worst(list(group.values())) for group in groups.values())
    assert book.total_micros == total
    for market, event in EVENT_OF.items():
        mine = groups.get(event if event >= 0 else ("alone", market), {})
        assert book.others_micros(market, event) == total - worst(list(mine.values()))
        others = [pair for other, pair in mine.items() if other != market]
        for if_yes, if_no in ((100, -50), (-20, 30)):
            joined = book.siblings(market, event).joined(if_yes, if_no)
            assert joined == worst([*others, (if_yes, if_no)])
