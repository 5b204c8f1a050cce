// Every input of the fuzzers' corpus, and every beginning of it, through the subject it was found with.

import Foundation
import FuzzTargets
import Testing

@Suite struct `Fuzz corpus` {
    private static let directory = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fuzz/corpus")

    private static let entries: [(target: FuzzTarget, name: String)] = FuzzTarget.allCases.flatMap { target in
        let names =
            (try? FileManager.default.contentsOfDirectory(
                atPath: directory.appending(path: target.rawValue).path())) ?? []
        return names.sorted().map { (target, $0) }
    }

    /// Long entries are cut at this many places only.
    private static let cutCountMax = 150

    @Test func `every subject has inputs`() {
        #expect(Set(Self.entries.map(\.target)) == Set(FuzzTarget.allCases))
    }

    @Test(arguments: entries)
    func `an input that was found once stops nothing any more`(target: FuzzTarget, name: String) async throws
    {
        let url = Self.directory.appending(path: "\(target.rawValue)/\(name)")
        let bytes = Array(try Data(contentsOf: url))
        await target.run(bytes)
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / Self.cutCountMax)) {
            await target.run(Array(bytes[..<count]))
        }
    }
}
