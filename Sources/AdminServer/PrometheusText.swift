// Writes Prometheus' text exposition format, version 0.0.4.
//
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/. A family is written once, its samples
// together; that is the caller's duty, since only the caller knows what belongs together.

package struct PrometheusText {
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    package enum Kind: String, Sendable {
        case counter
        case gauge
    }

    /// One label, in the order in which it is to be written.
    package struct Label: Sendable, Equatable {
        package let name: String
        package let value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package struct Sample: Sendable, Equatable {
        package let labels: [Label]
        package let value: Double

        package init(_ labels: [Label], _ value: Double) {
            self.labels = labels
            self.value = value
        }

        package init(_ labels: [Label], _ value: some BinaryInteger) {
            self.init(labels, Double(value))
        }
    }

    package private(set) var text = ""

    package init() {}

    /// Writes HELP, TYPE and the samples; nothing at all without samples, since a bare header says nothing.
    package mutating func family(_ name: String, _ kind: Kind, help: String, _ samples: [Sample]) {
        guard !samples.isEmpty else { return }
        text += "# HELP \(name) \(Self.escapeHelp(help))\n# TYPE \(name) \(kind.rawValue)\n"
        for sample in samples {
            text += name
            if !sample.labels.isEmpty {
                let labels = sample.labels.map { "\($0.name)=\"\(Self.escapeLabel($0.value))\"" }
                text += "{\(labels.joined(separator: ","))}"
            }
            text += " \(Self.format(sample.value))\n"
        }
    }

    package static func escapeLabel(_ value: String) -> String {
        escapeHelp(value).replacing("\"", with: "\\\"")
    }

    package static func escapeHelp(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
    }

    /// A name that Prometheus takes: letters, digits and underscores.
    package static func sanitizeName(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    /// Whole numbers without a fraction, so that a counter of bytes reads as one.
    private static func format(_ value: Double) -> String {
        guard value == value.rounded(), abs(value) < 1e15 else { return "\(value)" }
        return "\(Int64(value))"
    }
}
