"""Write contrib/completion/ from the parser of the command line (`make completion`)."""

from __future__ import annotations

from pathlib import Path

from ccproxyd.ctl.completion import files


def main() -> None:
    directory = Path(__file__).resolve().parent.parent / "contrib" / "completion"
    for name, text in files().items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
