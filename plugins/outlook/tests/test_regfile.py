"""What ``reg export`` writes is read as it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alimail_outlook.machine.regfile import parsed

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\]"), min_size=1, max_size=8
)
DATA = (
    TEXTS
    | st.integers(0, 2**32 - 1)
    | st.binary(max_size=60)
    | st.lists(TEXTS.filter(bool), max_size=3).map(tuple)
)


def quoted(text: str) -> str:
    """Write a text as in the file."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def hexed(octets: bytes) -> str:
    """Write octets in lines as in the file."""
    parts = [f"{octet:02x}" for octet in octets]
    lines = [",".join(parts[start : start + 20]) for start in range(0, len(parts), 20)]
    return ",\\\r\n  ".join(lines)


def written(datum: object) -> str:
    """Write a value as in the file."""
    if isinstance(datum, str):
        return quoted(datum)
    if isinstance(datum, int):
        return f"dword:{datum:08x}"
    if isinstance(datum, bytes):
        return f"hex:{hexed(datum)}"
    assert isinstance(datum, tuple)
    several = "".join(text + "\0" for text in datum) + "\0"
    return f"hex(7):{hexed(several.encode('utf-16-le'))}"


@given(st.dictionaries(NAMES, st.dictionaries(TEXTS, DATA, max_size=4), max_size=4))
def test_an_export_is_read_back(keys: dict[str, dict[str, object]]) -> None:
    """Keys, names and data of every type come back, also texts with quotes, line ends and what looks like a key."""
    lines = ["Windows Registry Editor Version 5.00\r\n"]
    for key, values in keys.items():
        lines.append(f"\r\n[HKEY_CURRENT_USER\\{key}]\r\n")
        lines += [f"{quoted(name) if name else '@'}={written(datum)}\r\n" for name, datum in values.items()]
    read = parsed("".join(lines) + "\r\n")
    for key, values in keys.items():
        if sum(other.lower() == key.lower() for other in keys) == 1:
            last = {name.lower(): datum for name, datum in values.items()}
            found = {value.name.lower(): value.datum for value in read.values(f"HKCU\\{key}")}
            assert found == last
    assert read.children("HKCU") or not keys


def test_a_value_cannot_pass_for_a_key() -> None:
    """A text that holds a line like a key's stays a text."""
    read = parsed('[HKEY_CURRENT_USER\\A]\r\n"x"="\r\n[HKEY_CURRENT_USER\\\\B]\r\n"\r\n')
    assert read.children("HKCU") == ["A"]
    assert read.text("hkcu\\a", "X") == "\r\n[HKEY_CURRENT_USER\\B]\r\n"
