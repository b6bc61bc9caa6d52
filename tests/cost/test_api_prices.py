import pytest

from planner.cost.api_prices import model_prices, training_prices
from planner.errors import UnknownNameError


def test_fine_tuning_is_priced_by_the_size_of_the_model():
    small, large = (
        training_prices(8_030_261_248, provider="fireworks"),
        training_prices(70_000_000_000, provider="fireworks"),
    )
    lora = next(price for price in small if price.method == "LoRA SFT")
    assert lora.usd_per_training_token == pytest.approx(0.5e-6)
    assert large[0].usd_per_training_token == pytest.approx(3e-6)
    assert [p.usd_per_training_token for p in small] == sorted(
        p.usd_per_training_token for p in small
    )


@pytest.mark.parametrize("params", [1e9, 16e9, 16.05e9, 16.5e9, 69.5e9, 80e9, 299e9, 1e12])
def test_no_size_falls_between_two_classes(params):
    assert training_prices(int(params), provider="fireworks")


def test_every_training_price_says_where_it_is_from_and_when():
    for price in training_prices(8_000_000_000):
        assert (
            price.source
            and price.captured_date
            and price.confidence
            and 0 < price.usd_per_training_token < 1e-3
        )


def test_models_are_found_by_name():
    found = model_prices("llama-3")
    assert found and all(
        "llama-3" in price.model.lower() and price.price_type == "inference" for price in found
    )
    assert all(
        price.usd_per_input_token is None or price.usd_per_input_token < 1e-3 for price in found
    )
    assert model_prices("embedding", price_type="embedding") and model_prices("no such model") == []


def test_an_unknown_provider_is_refused():
    with pytest.raises(UnknownNameError, match="fireworks"):
        training_prices(10**9, provider="firework")


def test_a_size_at_the_edge_belongs_to_the_lower_class():
    assert training_prices(16_000_000_000, provider="fireworks")[
        0
    ].usd_per_training_token == pytest.approx(0.5e-6)
    assert training_prices(16_000_000_001, provider="fireworks")[
        0
    ].usd_per_training_token == pytest.approx(3e-6)
