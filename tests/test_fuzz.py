from tests.fuzz import fuzz


def test_damaged_streams_and_models_are_errors_or_decode_exactly(codec, mnist, tmp_path):
    outcomes, _ = fuzz(codec, mnist[1][:2500], streams=150, models=60, seed=1, folder=tmp_path)
    assert outcomes["stream: right"] and outcomes["stream: some salvaged"] and outcomes["model: right"]
    assert outcomes["stream: error"] > 100 and outcomes["model: error"] > 45
