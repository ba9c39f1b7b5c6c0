"""As much of the protobuf wire format as a DNA needs: whole numbers and nested messages."""

from collections.abc import Iterator

from nni_evanet.errors import InputError

_VARINT, _LENGTH_DELIMITED = 0, 2
_VARINT_BYTES = 10
_TWO_TO_64 = 1 << 64


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: number, and a whole number or a nested message.

    Raises:
        InputError: the bytes are no such message, or end too early.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise InputError(f"no protobuf message: field number 0 before byte {position}")
        value, position = _read_varint(message, position, number)
        if wire_type == _VARINT:
            # Negative numbers are written as their two's complement of 64 bits.
            yield number, value - _TWO_TO_64 if value >= _TWO_TO_64 >> 1 else value
        elif wire_type == _LENGTH_DELIMITED:
            if position + value > len(message):
                raise InputError(
                    f"truncated: field {number} needs {value} bytes, "
                    f"{len(message) - position} are left"
                )
            yield number, message[position : position + value]
            position += value
        else:
            raise InputError(f"field {number} has wire type {wire_type}, expected 0 or 2")


def _read_varint(message: bytes, position: int, number: int | None = None) -> tuple[int, int]:
    """The varint at `position`, and where it ends. Seven bits a byte, the lowest first."""
    value = 0
    for shift in range(_VARINT_BYTES):
        if position + shift >= len(message):
            place = "a field's number" if number is None else f"field {number}"
            raise InputError(f"truncated within {place}")
        byte = message[position + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            if value >= _TWO_TO_64:
                break
            return value, position + shift + 1
    raise InputError(f"no protobuf message: the number at byte {position} exceeds 64 bits")
