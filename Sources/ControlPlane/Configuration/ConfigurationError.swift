// What is wrong with a configuration file, as values: each says where, what, which bound and what to do.

/// One problem of a configuration file.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    package let fileName: String
    /// From 1.
    package let line: Int
    /// From 1; nil where a problem concerns a whole line.
    package let column: Int?
    /// Where in the document, for machines: `target_groups[0].health_check.timeout`.
    package let path: String
    /// The thing, the value, the bound and the next step, in one line.
    package let message: String

    package init(fileName: String, line: Int, column: Int? = nil, path: String, message: String) {
        self.fileName = fileName
        self.line = line
        self.column = column
        self.path = path
        self.message = message
    }

    package var description: String { "\(fileName):\(line): \(message)" }
}

/// All problems of a configuration file, in the order of its lines; never empty.
package struct ConfigurationErrors: Error, Sendable, Equatable, CustomStringConvertible {
    package let errors: [ConfigurationError]

    package init(errors: [ConfigurationError]) {
        self.errors = errors
    }

    package var description: String { errors.map(\.description).joined(separator: "\n") }
}
