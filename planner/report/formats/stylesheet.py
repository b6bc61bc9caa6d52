"""The look of ``planner/report/look.py`` as CSS variables."""

from __future__ import annotations

from planner.report.look import DARK, FONTS, LIGHT, MONO, SPACE_PT, TYPE_PT, Theme


def tokens() -> str:
    """``:root`` with colours for light and dark, sizes and spaces in rem of body text."""
    body = TYPE_PT["body"]
    sizes = {f"type-{name}": f"{points / body:.3g}rem" for name, points in TYPE_PT.items()}
    spaces = {f"space-{name}": f"{points / body:.3g}rem" for name, points in SPACE_PT.items()}
    fonts = {"font": _family(FONTS), "mono": _family(MONO)}
    light = _block({**_colours(LIGHT), **sizes, **spaces, **fonts})
    dark = _block(_colours(DARK))
    return (
        f":root {{ {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def _colours(theme: Theme) -> dict[str, str]:
    names = "paper card ink soft rule hair accent tint good warn bad quiet".split()
    return {name: getattr(theme, name) for name in names}


def _family(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' if " " in name else name for name in names)


def _block(values: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())
