// Where the appliance logs: standard error, one line each, as text or JSON.

import ControlPlane
import Foundation
import Logging

enum ApplianceLog {
    /// Decides format and level for the whole process. Call once, before the first logger is made.
    static func bootstrap(_ settings: ApplianceSettings) {
        let level = Logger.Level(rawValue: settings.logLevel.rawValue) ?? .info
        let format = settings.logFormat
        LoggingSystem.bootstrap { label in
            LineLogHandler(label: label, logLevel: level, format: format)
        }
    }
}

/// Writes each message as one line. Text is `TIME LEVEL LABEL message key=value …`.
struct LineLogHandler: LogHandler {
    let label: String
    var logLevel: Logger.Level
    let format: ApplianceSettings.LogFormat
    var metadata: Logger.Metadata = [:]

    init(label: String, logLevel: Logger.Level, format: ApplianceSettings.LogFormat) {
        self.label = label
        self.logLevel = logLevel
        self.format = format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        let time = Date.now.formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        StandardError.write(
            (format == .json
                ? json(time, event.level, event.message, fields)
                : text(time, event.level, event.message, fields)) + "\n")
    }

    private func text(
        _ time: String, _ level: Logger.Level, _ message: Logger.Message, _ fields: Logger.Metadata
    ) -> String {
        let pairs = fields.sorted { $0.key < $1.key }.map { key, value in
            let text = "\(value)"
            let needsQuotes = text.isEmpty || text.contains { $0 == " " || $0 == "\"" || $0.isNewline }
            return " \(key)=\(needsQuotes ? String(reflecting: text) : text)"
        }
        return "\(time) \(level) \(label): \(message)\(pairs.joined())"
    }

    private func json(
        _ time: String, _ level: Logger.Level, _ message: Logger.Message, _ fields: Logger.Metadata
    ) -> String {
        var object = fields.mapValues { "\($0)" }
        object["time"] = time
        object["level"] = level.rawValue
        object["logger"] = label
        object["message"] = "\(message)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(object)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}
