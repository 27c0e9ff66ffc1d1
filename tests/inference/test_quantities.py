import pytest

from hepml.inference.quantities import measured, signed, with_error, with_prefix, with_thousands

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.3142, 0.0523, "2.314 ± 0.052"),
        (2.3142, 0.0996, "2.31 ± 0.10"),
        (0.93121, 0.000213, "0.93121 ± 0.00021"),
        (12345.6, 234.0, f"12{THIN}350 ± 230"),
        (12345.6, 1.26, f"12{THIN}345.6 ± 1.3"),
        (12345.6, 12.3, f"12{THIN}346 ± 12"),
        (-0.02, 0.21, "−0.02 ± 0.21"),
        (2.5, None, "2.5"),
        (2.5, 0.0, "2.5"),
        (None, 1.0, "–"),
    ],
)
def test_two_digits_of_the_error_decide_those_of_the_value(value, error, text):
    assert with_error(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31, "0.31"),
        (0.0104, "0.0104"),
        (142.137, "142.1"),
        (2100000, f"2{THIN}100{THIN}000"),
        (1.234e-7, "1.23 × 10⁻⁷"),
        (0, "0"),
        (None, "–"),
    ],
)
def test_numbers_without_an_error_get_four_digits_at_most(value, text):
    assert with_thousands(value) == text


def test_a_gain_carries_its_sign():
    assert signed(0.5, 0.1) == "+0.50 ± 0.10"
    assert signed(-0.5, 0.1) == "−0.50 ± 0.10"
    assert signed(None) == "–"


def test_a_number_that_is_not_there_is_not_measured():
    assert measured(None) is None
    assert measured({"value": None, "error": None}) is None
    assert measured({"value": 2.0, "error": None}).error is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(8513.0, "8.51 k"), (3.4e8, "340 M"), (999_600.0, "1 M"), (999.4, "999"), (None, "–")],
)
def test_large_numbers_get_a_prefix(value, text):
    assert with_prefix(value) == text
