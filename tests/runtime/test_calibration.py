"""The fit finds known truths, keeps sessions apart, and the stored presets are what their file says."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.domain.errors import DataError, UsageError
from pr3dict.runtime import calibration as c
from pr3dict.runtime.market_presets import Preset, find_preset, preset_toml, read_presets
from pr3dict.runtime.resemblance import compare, measure, standard_errors
from pr3dict.runtime.synthetic import REGIMES, Regime, fitted_regimes, one_market, regime, synthetic_market
from pr3dict.runtime.tapeset import tape_paths
from pr3dict.store.importers import get_importer, import_recordings
from pr3dict.store.tape import Tape, read_tape

SECOND = 1_000_000_000
PRESETS = ("quiet", "sports-live", "crypto-15m", "news", "thin")
TRUTH = Regime(
    name="truth",
    about="a busy market of a quarter of an hour",
    hours=0.25,
    volatility=0.9,
    resolve=0.1,
    half_spread_cents=1.1,
    makers=3,
    levels=4,
    maker_contracts=60.0,
    refresh_rate=700.0,
    noise_rate=900.0,
    noise_contracts=12.0,
    noise_sigma=1.0,
    informed_rate=300.0,
    informed_contracts=20.0,
    depth_rate=2_000.0,
    depth_contracts=10.0,
    depth_limit_contracts=300.0,
    depth_follow=0.7,
    herding=0.4,
)
PART = c.Part(life_ns=900 * SECOND, begin_ns=0, end_ns=840 * SECOND, known_close=True)


def recorded_truth(tapes: int) -> c.Recorded:
    """Tapes of the true market as a fit sees recorded ones."""
    samples = c.simulate(TRUTH, [PART], 500, tapes)
    return c.Recorded(
        samples=samples,
        parts=(PART,) * tapes,
        grid="linear_cent",
        figures=measure(samples),
        errors=standard_errors(samples),
        sessions=("truth",),
        left_out=(),
    )


def test_the_fit_recovers_a_market_that_it_can_generate() -> None:
    recorded = recorded_truth(12)
    start = c.first_guess(recorded, "found", "x", "y")
    at_start = c.loss_of(recorded, measure(c.simulate(start, recorded.parts, 1, 12)))
    found = c.fit(recorded, start, seed=1, evaluations=150, markets=8)
    assert found.loss < at_start / 4
    rows = c.judge(found.regime, recorded, seed=1, markets=48)
    out = [one.row.key for one in rows if one.verdict == "no"]
    assert len(out) <= 2, out
    assert found.regime.noise_rate + found.regime.informed_rate == pytest.approx(1_200, rel=0.5)


def test_the_same_seed_gives_the_same_fit_within_its_budget() -> None:
    recorded = recorded_truth(4)
    start = c.first_guess(recorded, "found", "x", "y")
    done = []
    fits = [
        c.fit(recorded, start, seed=2, evaluations=40, markets=4, progress=lambda n, _: done.append(n))
        for _ in range(2)
    ]
    assert fits[0] == fits[1]
    assert fits[0].evaluations <= 40 and max(done) == fits[0].evaluations


def retold(tape: Tape, session: str, ticker: str, shift_s: int) -> Tape:
    """A tape under another name and at another time."""
    events = tape.events.copy()
    events["exch_ns"] += shift_s * SECOND
    return Tape(events, msgspec.structs.replace(tape.meta, session=session, ticker=ticker, contract_id=""))


def test_a_split_keeps_sessions_and_markets_whole() -> None:
    base = synthetic_market(1, "short_dated")
    named = [("a", "m1"), ("a", "m2"), ("b", "m3"), ("c", "m4"), ("d", "m4"), ("e", "m5"), ("f", "m6")]
    tapes = [retold(base, session, ticker, 10 * k) for k, (session, ticker) in enumerate(named)]
    fitted, judged = c.split(tapes, 0.5)
    sessions = [{tape.meta.session for tape in part} for part in (fitted, judged)]
    assert sessions[0] | sessions[1] == set("abcdef") and not sessions[0] & sessions[1]
    markets = [{tape.meta.ticker for tape in part} for part in (fitted, judged)]
    assert not markets[0] & markets[1]
    assert len(fitted) + len(judged) == len(tapes)
    with pytest.raises(DataError, match="can't be split"):
        c.split(tapes[:2], 0.5)


def test_what_can_t_be_calibrated_is_refused() -> None:
    tape = synthetic_market(1, "short_dated")
    bare = Tape(tape.events, msgspec.structs.replace(tape.meta, has_trades="none"))
    with pytest.raises(DataError, match="needs a book and trades"):
        c.read_recorded([bare])
    with pytest.raises(DataError, match="grids differ"):
        c.read_recorded([tape, synthetic_market(1, "calm")])
    brief = Tape(tape.events[:300], tape.meta)
    with pytest.raises(DataError, match="no tape has 120 s"):
        c.read_recorded([brief])
    recorded = c.read_recorded([tape, brief])
    assert len(recorded.samples) == 2  # two tapes make two pieces each
    assert len(recorded.left_out) == 2
    assert "only" in recorded.left_out[0] and tape.meta.ticker in recorded.left_out[0]


def test_few_tapes_are_cut_into_pieces_that_make_up_the_whole() -> None:
    tape = synthetic_market(1, "short_dated")
    windows = c.windows_of(tape, 3)
    assert (
        windows[0][0] == int(tape.events["exch_ns"][0]) and windows[-1][1] == tape.meta.close_ns - 60 * SECOND
    )
    assert [end for _, end in windows[:-1]] == [begin for begin, _ in windows[1:]]
    parts = c.read_recorded([tape]).parts
    assert len(parts) == 4 and parts[0].begin_ns == 0 and parts[-1].end_ns == 840 * SECOND
    endless = Tape(tape.events, msgspec.structs.replace(tape.meta, open_ns=None, close_ns=None))
    last = c.part_of(endless, c.windows_of(endless, 2)[1])
    assert not last.known_close and 0 < last.begin_ns < last.end_ns < last.life_ns == 3 * 3600 * SECOND


def test_generated_markets_differ_as_much_as_the_regime_says() -> None:
    varied = msgspec.structs.replace(
        TRUTH, p0_spread=0.5, activity_spread=0.4, size_spread=0.3, volatility_spread=0.2
    )
    drawn = [one_market(varied, seed) for seed in range(400)]
    for field, spread in (("noise_rate", 0.4), ("maker_contracts", 0.3), ("volatility", 0.2)):
        values = np.array([getattr(one, field) for one in drawn])
        assert np.log(values).std() == pytest.approx(spread, rel=0.15)
        assert values.mean() == pytest.approx(getattr(TRUTH, field), rel=0.08)
    odds = np.array([math.log(one.p0 / (1 - one.p0)) for one in drawn])
    assert odds.std() == pytest.approx(0.5, rel=0.15)
    assert one_market(TRUTH, 3) is TRUTH


def test_the_presets_are_regimes_with_a_source() -> None:
    presets = read_presets()
    assert tuple(sorted(one.regime.name for one in presets)) == tuple(sorted(PRESETS))
    assert {one.regime for one in presets} == set(fitted_regimes())
    assert not {one.name for one in REGIMES} & set(PRESETS)
    for one in presets:
        assert regime(one.regime.name) == one.regime
        assert one.sessions and one.parts and len(one.regime.source) > 40
        tape = synthetic_market(1, one.regime.name)
        assert tape.meta.synthetic and (tape.events["kind"] == 2).any()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reproduces_its_stored_statistics(name: str) -> None:
    preset = find_preset(name)
    markets = len(preset.parts) * -(-c.MARKETS // len(preset.parts))
    again = measure(c.simulate(preset.regime, preset.parts, 1 + c.FRESH_SEEDS, markets))
    for one in compare(preset.generated, preset.errors, again, 1):
        if math.isfinite(one.recorded):
            assert one.distance <= one.allowed / 10, one.row.key


def test_a_preset_survives_its_file(tmp_path: Path) -> None:
    recorded = recorded_truth(2)
    ours = Preset(
        TRUTH, ("one", 'two "quoted"'), recorded.parts, recorded.figures, recorded.errors, recorded.figures
    )
    path = tmp_path / "mine.toml"
    path.write_text(preset_toml(ours), encoding="utf-8")
    back = find_preset(str(path))
    assert (back.regime, back.sessions, back.parts) == (ours.regime, ours.sessions, ours.parts)
    for key, value in ours.recorded.items():
        assert back.recorded[key] == pytest.approx(value, rel=1e-5, nan_ok=True)


def test_files_that_hold_no_preset_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    with pytest.raises(DataError, match=r"bad\.toml"):
        find_preset(str(path))
    path.write_text("= 1", encoding="utf-8")
    with pytest.raises(DataError, match="no TOML file of presets"):
        find_preset(str(path))
    path.write_text(
        "[x]\nabout = 3\nsessions = []\nparts = []\n[x.recorded]\n[x.generated]\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match="x"):
        find_preset(str(path))
    with pytest.raises(UsageError, match="unknown preset 'stormy'; choose one of"):
        find_preset("stormy")


def imported(data_dir: Path, out: Path, form: str, *paths: str) -> list[Tape]:
    folders = [data_dir / path for path in paths]
    for folder in folders:
        if not folder.exists():
            pytest.skip(f"no recording at {folder}")
    import_recordings(get_importer(form), folders, out)
    return [read_tape(path) for path in tape_paths([out])]


def misses(name: str, tapes: list[Tape]) -> set[str]:
    """Rows that say no on tapes that the preset was not fitted to."""
    preset = find_preset(name)
    recorded = c.read_recorded(tapes)
    assert len(recorded.samples) >= 3
    assert not set(recorded.sessions) & set(preset.sessions), "these sessions were used to fit"
    fitted_to = c.FittedTo(preset.errors, len(preset.parts))
    rows = c.judge(preset.regime, recorded, seed=1, fitted_to=fitted_to)
    return {one.row.key for one in rows if one.verdict == "no"}


def test_crypto_15m_on_sessions_that_it_was_not_fitted_on(data_dir: Path, tmp_path: Path) -> None:
    tapes = imported(data_dir, tmp_path, "kalshi-kxbtc15m-l2", "kalshi-kxbtc15m-l2-b")
    assert not misses("crypto-15m", tapes)


def test_sports_live_on_games_that_it_was_not_fitted_on(data_dir: Path, tmp_path: Path) -> None:
    folder = "polymarket-mlb-l2-2025"
    apart = ("sports-live", "quiet", "thin")  # the last two games are of another kind, see the source
    used = {session for name in apart for session in find_preset(name).sessions}
    files = sorted((data_dir / folder).rglob("*.csv.gz"))
    fresh = [
        str(path.relative_to(data_dir)) for path in files if path.name.removesuffix(".csv.gz") not in used
    ]
    assert not misses("sports-live", imported(data_dir, tmp_path, "polymarket-mlb-l2", *fresh))
