// From probe results to verdicts, by ELBv2's thresholds.

import Balancing
import Testing

@Suite struct `Health machine` {
    /// Three successes to come back, two failures to go out.
    private func machine(healthy: Int = 3, unhealthy: Int = 2) -> HealthMachine {
        HealthMachine(healthyThresholdCount: healthy, unhealthyThresholdCount: unhealthy)
    }

    struct Story: Sendable, CustomTestStringConvertible {
        let name: String
        /// `s` success, `l` lame duck, `f` failure; one verdict after each.
        let outcomes: String
        /// `i` initial, `h` healthy, `l` lame duck, `u` unhealthy; upper case where it is reported as a change.
        let verdicts: String

        var testDescription: String { name }
    }

    @Test(arguments: [
        Story(name: "one success suffices for a new target", outcomes: "s", verdicts: "H"),
        Story(name: "a new target fails by threshold", outcomes: "ff", verdicts: "iU"),
        Story(name: "a success between failures starts the count again", outcomes: "fsff", verdicts: "iHhU"),
        Story(name: "one failure leaves a healthy target in service", outcomes: "sfsfs", verdicts: "Hhhhh"),
        Story(name: "coming back takes successes in a row", outcomes: "ffsssf", verdicts: "iUuuHh"),
        Story(
            name: "a failure on the way back starts the count again", outcomes: "ffssfsss",
            verdicts: "iUuuuuuH"),
        Story(name: "lame duck takes effect with one probe", outcomes: "sl", verdicts: "HL"),
        Story(name: "a new target may be a lame duck", outcomes: "l", verdicts: "L"),
        Story(name: "a lame duck returns with one probe", outcomes: "sls", verdicts: "HLH"),
        Story(name: "a lame duck stays one without more reports", outcomes: "lll", verdicts: "Lll"),
        Story(name: "a lame duck fails by threshold", outcomes: "lff", verdicts: "LlU"),
        Story(name: "an unhealthy target comes back as a lame duck", outcomes: "ffssl", verdicts: "iUuuL"),
        Story(
            name: "lame-duck answers count as successes on the way back", outcomes: "ffllsl",
            verdicts: "iUuuHL"),
        Story(name: "failures of an unhealthy target are no news", outcomes: "fffff", verdicts: "iUuuu"),
        Story(name: "a long healthy time earns no credit", outcomes: "ssssssssff", verdicts: "HhhhhhhhhU"),
        Story(name: "out, back and out again", outcomes: "ffsssff", verdicts: "iUuuHhU"),
    ])
    func `follows the thresholds`(story: Story) {
        var machine = machine()
        var verdicts = ""
        for outcome in story.outcomes {
            let isReported: Bool
            switch outcome {
            case "s": isReported = machine.observe(.success)
            case "l": isReported = machine.observe(.lameDuck)
            default: isReported = machine.observe(.failure(.connectionRefused))
            }
            let letter =
                switch machine.verdict {
                case .initial: "i"
                case .healthy: "h"
                case .lameDuck: "l"
                case .unhealthy: "u"
                }
            verdicts += isReported ? letter.uppercased() : letter
        }
        #expect(verdicts == story.verdicts)
    }

    @Test func `an unhealthy target shows its newest failure`() {
        var machine = machine()
        _ = machine.observe(.failure(.connectionRefused))
        _ = machine.observe(.failure(.statusMismatch(code: 503)))
        #expect(machine.verdict == .unhealthy(.statusMismatch(code: 503)))
        let isReported = machine.observe(.failure(.unexpectedAnswer))
        #expect(!isReported)
        #expect(machine.verdict == .unhealthy(.unexpectedAnswer))
    }

    @Test(arguments: 2...10)
    func `every threshold that ELBv2 allows is met exactly`(threshold: Int) {
        var machine = machine(healthy: threshold, unhealthy: threshold)
        for count in 1...threshold {
            let isReported = machine.observe(.failure(.unexpectedAnswer))
            #expect(isReported == (count == threshold))
        }
        for count in 1...threshold {
            let isReported = machine.observe(.success)
            #expect(isReported == (count == threshold))
        }
        #expect(machine.verdict == .healthy)
    }

    /// Against a model that knows only the whole history.
    @Test func `any history agrees with counting runs`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let healthy = Int.random(in: 2...10, using: &generator)
            let unhealthy = Int.random(in: 2...10, using: &generator)
            var machine = machine(healthy: healthy, unhealthy: unhealthy)
            var isDown = false
            var failureRun = 0
            var successRun = 0
            for _ in 0..<200 {
                let isSuccess = Int.random(in: 0..<10, using: &generator) < 6
                failureRun = isSuccess ? 0 : failureRun + 1
                successRun = isSuccess ? successRun + 1 : 0
                let before = machine.verdict
                let isReported = machine.observe(isSuccess ? .success : .failure(.connectionReset))
                #expect(isReported == (before != machine.verdict), "seed \(seed)")
                if isDown { isDown = successRun < healthy } else { isDown = failureRun >= unhealthy }
                #expect((machine.verdict == .unhealthy(.connectionReset)) == isDown, "seed \(seed)")
            }
        }
    }
}

@Suite struct `Probe failure` {
    private static let endpoint = Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 8080)

    @Test func `each cause has a sentence of its own and names the target`() {
        let failures: [(ProbeFailure, TargetHealthReason)] = [
            (.connectionRefused, .failedHealthChecks),
            (.unreachable("No route to host"), .failedHealthChecks),
            (.timedOut(.connecting, byteCountReceived: 0), .timeout),
            (.timedOut(.awaitingAnswer, byteCountReceived: 0), .timeout),
            (.timedOut(.receivingAnswer, byteCountReceived: 9), .timeout),
            (.connectionReset, .failedHealthChecks),
            (.closedEarly(byteCountReceived: 0), .failedHealthChecks),
            (.closedEarly(byteCountReceived: 9), .failedHealthChecks),
            (.malformedAnswer("no status line"), .failedHealthChecks),
            (.statusMismatch(code: 503), .responseCodeMismatch), (.unexpectedAnswer, .failedHealthChecks),
            (.trafficRefused, .failedHealthChecks), (.balancerFault("no descriptor"), .internalError),
        ]
        let check = HealthCheck(protocol: .http, timeoutSeconds: 3)
        let sentences = failures.map { $0.0.sentence(probing: Self.endpoint, with: check) }
        #expect(Set(sentences).count == sentences.count)
        for ((failure, reason), sentence) in zip(failures, sentences) {
            #expect(failure.reason == reason)
            #expect(sentence.hasSuffix(".") && sentence.first?.isLowercase != true, "\(sentence)")
            switch failure {
            case .statusMismatch: #expect(sentence.contains("503") && sentence.contains("200-399"))
            case .balancerFault: #expect(sentence.contains("no descriptor"))
            default: #expect(sentence.contains("10.0.0.1:8080"), "\(sentence)")
            }
            if case .timedOut = failure { #expect(sentence.contains("3 s"), "\(sentence)") }
        }
    }
}
