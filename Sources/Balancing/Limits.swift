// Every bound of Weir in one place. What happens at a bound stands beside it.

public enum Limits {
    // Configuration: one more is refused with an error that names the bound.
    public static let loadBalancerCountMax = 100
    public static let listenerCountMax = 1_000
    public static let targetGroupCountMax = 1_000
    public static let targetCountMax = 20_000
    public static let targetGroupsPerActionMax = 5
    public static let addressesPerLoadBalancerMax = 16
    public static let sourceAddressCountMax = 64
    public static let nameLengthMax = 32
    public static let configurationByteCountMax = 8 << 20
    public static let workerCountMax = 64
    public static let drainTimeoutSecondsMax = 3_600
    public static let upgradeDrainTimeoutSecondsMax = 86_400
    public static let configuredFlowCountMax = 4_000_000
    public static let zoneNameLengthMax = 64
    public static let lameDuckTextLengthMax = 256
    public static let healthCheckPathLengthMax = 1_024
    /// A refused configuration lists this many errors and says how many more there are.
    public static let configurationErrorCountMax = 200

    /// Numbers for registrations, retired ones included; they are reused when their flows are gone.
    public static let targetNumberCountMax = 65_536
    public static let listenerNumberCountMax = 4_096

    // Flows: a new one beyond the bound is shed and counted; live ones never suffer.
    public static let tcpFlowCountDefault = 100_000
    public static let udpFlowCountDefault = 200_000

    /// Descriptors kept for listeners, the admin server, the store, probes and pipes.
    public static let reservedDescriptorCount = 512

    // One worker's turn: more waits for the next turn, so that no flow and no listener starves the others.
    public static let eventsPerTurnMax = 256
    public static let acceptsPerTurnMax = 64
    /// When a listener ends, it first takes at most this many queued connections.
    public static let acceptsPerDrainMax = 16_384
    public static let stepsPerPumpMax = 16
    public static let datagramBatchesPerTurnMax = 4

    // Moving bytes; KERNEL figures: crossover of copy and splice at 8–32 KiB.
    public static let copyByteCountMax = 16 << 10
    public static let pipeByteCountMax = 1 << 20
    public static let pooledPipeCountMax = 64
    public static let shortSplicesBeforeCopy = 8

    // Datagrams.
    public static let datagramsPerBatch = 32
    public static let datagramByteCountMax = 65_507
    public static let udpIdleTimeoutSeconds = 120
    /// A segmented send carries at most this many datagrams; see udp(7), UDP_SEGMENT.
    public static let segmentsPerSendMax = 64

    // Targets.
    public static let connectAttemptCountMax = 8
    public static let ephemeralPortUseWarningPercent = 50

    // Probes.
    public static let concurrentProbeCountMax = 256
    public static let probeResponseByteCountMax = 64 << 10
    public static let probePayloadByteCountMax = 1_024
}
