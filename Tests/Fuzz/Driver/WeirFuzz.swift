// libFuzzer's entry: runs the subject that WEIR_FUZZ_TARGET names on whatever bytes libFuzzer makes up.

import Dispatch
import Foundation
import FuzzTargets

/// See <https://llvm.org/docs/LibFuzzer.html#using-libfuzzer-as-a-library>.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argumentCount: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private let subject = FuzzTarget(rawValue: ProcessInfo.processInfo.environment["WEIR_FUZZ_TARGET"] ?? "")

@main struct WeirFuzz {
    static func main() {
        guard subject != nil else {
            print("weir-fuzz: WEIR_FUZZ_TARGET is not set; run scripts/fuzz")
            exit(64)
        }
        var argumentCount = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(
            runDriver(&argumentCount, &arguments) { pointer, count in
                let bytes = Array(UnsafeBufferPointer(start: pointer, count: count))
                guard let subject else { return -1 }
                // libFuzzer's thread waits; a trap on any thread stops the process with the input at hand.
                let isDone = DispatchSemaphore(value: 0)
                Task {
                    await subject.run(bytes)
                    isDone.signal()
                }
                isDone.wait()
                return 0
            })
    }
}
