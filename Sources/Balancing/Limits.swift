// Every bound of Weir in one place. What happens at a bound stands beside it.

package enum Limits {
    // Configuration: one more is refused with an error that names the bound.
    package static let loadBalancerCountMax = 100
    package static let listenerCountMax = 1_000
    package static let targetGroupCountMax = 1_000
    package static let targetCountMax = 20_000
    package static let targetGroupsPerActionMax = 5
    package static let addressesPerLoadBalancerMax = 16
    package static let sourceAddressCountMax = 64
    package static let nameLengthMax = 32
    package static let configurationByteCountMax = 8 << 20
    package static let workerCountMax = 64
    package static let drainTimeoutSecondsMax = 3_600
    package static let configuredFlowCountMax = 4_000_000
    package static let zoneNameLengthMax = 64
    package static let lameDuckTextLengthMax = 256
    package static let healthCheckPathLengthMax = 1_024
    /// A refused configuration lists this many errors and says how many more there are.
    package static let configurationErrorCountMax = 200

    /// Numbers for registrations, retired ones included; they are reused when their flows are gone.
    package static let targetNumberCountMax = 65_536
    package static let listenerNumberCountMax = 4_096

    // Flows: a new one beyond the bound is shed and counted; live ones never suffer.
    package static let tcpFlowCountDefault = 100_000
    package static let udpFlowCountDefault = 200_000

    /// Descriptors kept for listeners, the admin server, the store, probes and pipes.
    package static let reservedDescriptorCount = 512

    // One worker's turn: more waits for the next turn, so that no flow and no listener starves the others.
    package static let eventsPerTurnMax = 256
    package static let acceptsPerTurnMax = 64
    /// When a listener ends, it first takes at most this many queued connections.
    package static let acceptsPerDrainMax = 16_384
    package static let stepsPerPumpMax = 16
    package static let datagramBatchesPerTurnMax = 4

    // Moving bytes; KERNEL figures: crossover of copy and splice at 8–32 KiB.
    package static let copyByteCountMax = 16 << 10
    package static let pipeByteCountMax = 1 << 20
    package static let pooledPipeCountMax = 64
    package static let shortSplicesBeforeCopy = 8

    // Datagrams.
    package static let datagramsPerBatch = 32
    package static let datagramByteCountMax = 65_507
    package static let udpIdleTimeoutSeconds = 120
    /// A segmented send carries at most this many datagrams; see udp(7), UDP_SEGMENT.
    package static let segmentsPerSendMax = 64

    // Targets.
    package static let connectAttemptCountMax = 8
    package static let ephemeralPortUseWarningPercent = 50

    // Probes.
    package static let concurrentProbeCountMax = 256
    package static let probeResponseByteCountMax = 64 << 10
    package static let probePayloadByteCountMax = 1_024
}
