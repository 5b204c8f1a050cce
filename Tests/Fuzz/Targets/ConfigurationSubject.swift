// Any text as a configuration file: errors that people can read, or values that the whole control plane takes.
#if DEBUG

import Balancing

@testable import ControlPlane

enum ConfigurationSubject {
    static func run(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        let configuration: Configuration
        do throws(ConfigurationErrors) {
            configuration = try Configuration.parse(text, fileName: "weir.yaml")
        } catch {
            check(error, of: text)
            return
        }
        apply(configuration)
        precondition((try? Configuration.parse(text, fileName: "weir.yaml")) == configuration, "reads twice")
    }

    private static func check(_ errors: ConfigurationErrors, of text: String) {
        precondition(!errors.errors.isEmpty, "a refusal has a reason")
        precondition(errors.errors.count <= Limits.configurationErrorCountMax + 1)
        // libyaml knows line breaks beside the line feed: CR, NEL, LS and PS.
        let lineCountMax =
            2 + text.unicodeScalars.count { "\n\r\u{85}\u{2028}\u{2029}".unicodeScalars.contains($0) }
        var last = 0
        for error in errors.errors {
            precondition((1...lineCountMax).contains(error.line), "a line of the file")
            precondition(error.line >= last, "in the order of the file")
            precondition(error.column.map { $0 >= 1 } ?? true, "columns count from one")
            precondition(!error.message.isEmpty && !error.message.contains(where: \.isNewline), "one line")
            precondition(error.message.utf8.count < 4_096, "a line that a terminal can show")
            last = error.line
        }
    }

    /// What the reader accepts never traps further in: merged, validated, stored, compiled, compared.
    private static func apply(_ configuration: Configuration) {
        _ = configuration.settings.values
        var state = RegistryState()
        let now = Instant(nanoseconds: 1)
        guard (try? state.merge(configuration, prune: true, at: now, secondsSince1970: 1)) != nil,
            (try? state.validate()) != nil
        else { return }
        _ = state.stored
        var compiler = SnapshotCompiler(
            seed: HashSeed(first: 1, second: 2), zone: configuration.settings.availabilityZone,
            sourceAddresses: configuration.settings.sourceAddresses, tableSlotCount: 251)
        let result = compiler.compile(state, version: 1)
        let client = Endpoint(address: IPAddress(v4: 0xC000_0201), port: 40_000)
        for binding in result.bindings {
            let key = FlowKey(client: client, local: binding.endpoint, transport: binding.transport)
            _ = result.snapshot.select(listener: binding.number, key: key)
        }
        let again = try? state.merge(configuration, prune: true, at: now, secondsSince1970: 2)
        precondition(again?.isEmpty == true, "the same configuration changes nothing")
    }
}
#endif
