// libFuzzer's entry: runs the subject that WEIR_FUZZ_TARGET names on whatever bytes libFuzzer makes up.
//
// libFuzzer brings main; see <https://llvm.org/docs/LibFuzzer.html>.

import Dispatch
import Foundation
import FuzzTargets

private let subject = FuzzTarget(rawValue: ProcessInfo.processInfo.environment["WEIR_FUZZ_TARGET"] ?? "")

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ pointer: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    guard let subject else {
        print("weir-fuzz: WEIR_FUZZ_TARGET is not set; run scripts/fuzz")
        exit(64)
    }
    let bytes = Array(UnsafeBufferPointer(start: pointer, count: count))
    // libFuzzer's thread waits; a trap on any thread stops the process with the input at hand.
    let isDone = DispatchSemaphore(value: 0)
    Task {
        await subject.run(bytes)
        isDone.signal()
    }
    isDone.wait()
    return 0
}
