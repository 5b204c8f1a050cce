// Bytes as tests write them.

import Balancing

/// Bytes from hexadecimal digits; blanks and line breaks only divide.
func bytes(hex: String) -> [UInt8] {
    let digits = hex.utf8.compactMap(hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// A length in front of bytes, as TLS and PROXY protocol have them.
func counted8(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count)] + bytes }

func counted16(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes }

func counted24(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 16)] + counted16(bytes, of: bytes.count) }

private func counted16(_ bytes: [UInt8], of count: Int) -> [UInt8] {
    [UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)] + bytes
}

extension [UInt8] {
    static func random(count: Int, using generator: inout SplitMix64) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }
}
