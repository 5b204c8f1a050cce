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
    /// A list of flows is made of this many slots at a time.
    public static let slotsListedPerTurnMax = 1_024

    // Moving bytes; KERNEL figures: crossover of copy and splice at 8–32 KiB.
    public static let copyByteCountMax = 16 << 10
    /// What a flow may read before its target answers; more stays in the kernel, so that clients of a target
    /// that never answers cost a page each.
    public static let earlyByteCountMax = 4 << 10
    /// One read of plain bytes that are to be encrypted: four full records leave in one burst.
    public static let encryptedByteCountMax = 64 << 10
    public static let pipeByteCountMax = 1 << 20
    public static let pooledPipeCountMax = 64
    public static let shortSplicesBeforeCopy = 8

    // Datagrams.
    public static let datagramsPerBatch = 32
    public static let datagramByteCountMax = 65_507
    public static let udpIdleTimeoutSeconds = 120
    /// A segmented send carries at most this many datagrams; see udp(7), UDP_SEGMENT.
    public static let segmentsPerSendMax = 64

    // TLS.
    public static let handshakeTimeoutSeconds = 10
    /// Each takes about 100 KiB while it lasts; clients beyond are reset and counted.
    public static let handshakeCountMax = 1_000

    // What a client or a trusted peer says before its bytes are passed on; more is refused and counted.
    /// A PROXY protocol header, of which honest ones have a few hundred bytes.
    public static let proxyHeaderByteCountMax = 2_048
    /// A ClientHello without its record headers.
    public static let clientHelloByteCountMax = 16 << 10
    /// The same with them, as it is peeked at.
    public static let clientHelloPeekByteCountMax = 32 << 10

    // Targets.
    public static let connectAttemptCountMax = 8
    public static let ephemeralPortUseWarningPercent = 50
    /// From this use on a worker names a few ports for the kernel to choose from, instead of all.
    public static let ephemeralPortUseSteeredPercent = 25
    public static let steeredPortCount = 8
    public static let steeredAttemptCountMax = 16
    /// So many unanswered connections from clients' own addresses in a row are a warning in the status.
    public static let preservedTimeoutsBeforeWarning = 3

    // TLS. More certificates or keys are refused with an error, a larger file and a longer client chain too.
    public static let certificatesPerListenerMax = 25
    public static let certificateFileByteCountMax = 1 << 20
    public static let authorityFileByteCountMax = 8 << 20
    public static let ticketKeyCountMax = 8
    /// Who sends what is no data, such as key updates, is read on in the next turn, as one who sends much is.
    public static let receivesPerReadMax = 4
    /// A step of a handshake that takes more fails: nobody needs as many who means it.
    public static let receivesPerHandshakeStepMax = 256
    public static let clientChainByteCountMax = 32 << 10
    /// Issuers between a client's certificate and one of the CA bundle.
    public static let clientChainDepthMax = 4
    /// What the configuration may ask for; the defaults stand above.
    public static let configuredHandshakeTimeoutSecondsMax = 300
    public static let configuredHandshakeCountMax = 65_536

    // Access logs and connection logs. Lines beyond what a ring holds are dropped and counted, never waited for.
    public static let accessLogRecordsPerWorker = 4_096
    public static let accessLogIntervalMilliseconds = 100
    public static let accessLogChunkByteCount = 4_096
    /// A pipe that takes nothing for so long loses what is left of the turn.
    public static let accessLogPatienceMilliseconds = 100
    public static let accessLogRetrySeconds = 5
    /// Of what clients and targets say, a line of application mode shows so much; what is cut shows that it was.
    public static let accessLogTextByteCountMax = 4_096
    /// Exchanges are many more than connections. Their texts have so much room each on average.
    public static let exchangeLogRecordsPerWorker = 16_384
    public static let exchangeLogTextByteCount = 512
    /// All texts of one exchange, each at its bound.
    public static let exchangeLogTextByteCountMax = 20 << 10
    /// Cells for the texts of exchanges under way whose memory stays warm: giving pages back is a call each.
    public static let exchangeLogWarmCellCount = 1_024
    /// What a client's TLS connection is told its targets by: a chain of `clientChainByteCountMax`, as text.
    public static let tlsFieldsByteCountMax = 64 << 10
    /// Listeners with a log, and certificates, that one process has seen; beyond, lines are not written or
    /// show no certificate.
    public static let accessLogSourceCountMax = 65_536
    public static let registeredCertificateCountMax = 1 << 20

    // Application mode. One read and one write of an exchange; the latter holds a rewritten head as well.
    public static let exchangeInputByteCountMax = 68 << 10
    public static let exchangeOutputByteCountMax = 96 << 10
    /// A client that sends many requests at once gives way to others after so many.
    public static let exchangesPerTurnMax = 16
    /// Plain content of at least this many bytes still to come moves by splice.
    public static let spliceContentByteCountMin = 256 << 10
    public static let interimResponseCountMax = 16
    /// Connections of HTTP/2 that have no stream left for an exchange, before it fails.
    public static let refusedStreamCountMax = 8
    /// How often a request is sent once more because a pooled connection turned out dead.
    public static let requestRepeatCountMax = 2
    /// Idle connections that each worker keeps to one target, and for how long; more are closed after use.
    public static let pooledConnectionsPerTargetMax = 256
    public static let pooledConnectionSeconds = 60
    /// How long what an answered client still sends is read off before its connection ends.
    public static let lingerSeconds = 5
    /// How long a client that asks nothing may stay once Weir drains.
    public static let drainedIdleSeconds = 1

    // Rules of a listener and whom it believes; more are refused with an error.
    public static let rulesPerListenerMax = 100
    /// Of HTTP and HTTPS listeners.
    public static let applicationRulesPerListenerMax = 2_000
    public static let rulePriorityMax = 50_000
    public static let valuesPerConditionMax = 32
    public static let conditionsPerRuleMax = 16
    public static let trustedRangeCountMax = 64

    // Probes.
    public static let concurrentProbeCountMax = 256
    public static let probeResponseByteCountMax = 64 << 10
    public static let probePayloadByteCountMax = 1_024

    // HTTP/2, each connection. Requests beyond are refused with REFUSED_STREAM, larger heads with 431.
    public static let http2ConcurrentStreamsMax = 128
    /// What a sender may send on one stream, and on all of a connection, before the bytes are taken.
    public static let http2StreamWindowByteCount = 64 << 10
    public static let http2ConnectionWindowByteCount = 1 << 20
    /// The same of a target's connection, which clients share: those that do not read are never in the others' way.
    public static let http2TargetWindowByteCount = http2ConcurrentStreamsMax * http2StreamWindowByteCount
    /// Names, values and 32 bytes for each; RFC 9113 section 6.5.2.
    public static let http2HeaderListByteCountMax = 64 << 10
    public static let http2FieldCountMax = 256
    /// The HPACK table of what is sent. It halves the work of sending fields again, and costs an idle connection up
    /// to three times as much memory: there are many clients' connections, and few to targets.
    public static let http2ServerEncoderTableByteCount = 1 << 10
    public static let http2ClientEncoderTableByteCount = 4 << 10
    /// What one worker's sessions report of heads at a time; they pause there.
    public static let http2FieldAreaByteCount = 512 << 10
    public static let http2HeadsPerReceptionMax = 64
    /// What waits to be sent on one stream; a writer is told to wait. In pieces of a few, which streams share.
    public static let http2QueueByteCountMax = 64 << 10
    public static let http2QueuePieceByteCount = 4 << 10
    /// Pieces of all of a worker's streams; then no stream takes a second one.
    public static let http2QueuePieceCountMax = 16_384
    /// Pieces and stream records that a worker keeps for the next stream.
    public static let http2KeptPieceCountMax = 256
    public static let http2KeptStreamCountMax = 1_024
    /// Trailers are kept whole until the content before them is sent; larger ones are refused.
    public static let http2TrailerByteCountMax = 16 << 10

    // HTTP/2, attacks: more ends the connection with ENHANCE_YOUR_CALM.
    /// A head that is this much larger than allowed is not even decoded to its end.
    public static let http2HeaderBombByteCountMax = 512 << 10
    public static let http2ContinuationCountMax = 16
    public static let http2ResetsAtOnceMax = 512
    public static let http2ResetsPerSecondMax = 32
    /// SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty and unknown frames together.
    public static let http2ControlFramesAtOnceMax = 1_024
    public static let http2ControlFramesPerSecondMax = 32
    /// Granted for each message and each DATA frame that goes either way.
    public static let http2ControlFramesPerFrame = 4
    /// Between asking a client to begin no more streams and taking none: a long way there and back.
    public static let http2FarewellSeconds = 1
    /// Answers to PING and SETTINGS that wait to be sent.
    public static let http2UnsentAnswerCountMax = 256
    public static let http2SettingsPerFrameMax = 32
}
