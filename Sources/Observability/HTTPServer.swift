internal import NIOCore
internal import NIOPosix
internal import NetTypes

/// An HTTP/1.1 server on one address, which tries until it can listen there.
public struct HTTPServer: Sendable {
    /// Where it listens.
    public let address: ListenAddress
    private let thread: ServerThread
    private let failsHard: Bool
    private let retryInterval: Duration
    private let limits: ConnectionLimits
    private let report: @Sendable (BindReport) -> Void
    private let answering: Answering

    init(
        _ address: ListenAddress, on thread: ServerThread, failsHard: Bool, retryInterval: Duration,
        limits: ConnectionLimits = ConnectionLimits(), report: @escaping @Sendable (BindReport) -> Void,
        _ answering: Answering
    ) {
        self.address = address
        self.thread = thread
        self.failsHard = failsHard
        self.retryInterval = retryInterval
        self.limits = limits
        self.report = report
        self.answering = answering
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: When it cannot listen and has been told that this is fatal (kube-proxy's `bindAddressHardFail`).
    public func run() async throws(BindFailure) {
        var told: BindFailure?
        let pool = NIOLoopBoundBox.makeBoxSendingValue(
            ConnectionPool(limit: limits.connections), eventLoop: thread.loop)
        while !Task.isCancelled {
            do {
                let channel = try await listen(pool)
                told = nil
                report(.listening(ListenAddress(address: address.address, port: channel.localPort ?? address.port)))
                await untilClosed(channel)
                thread.loop.execute { pool.value.close(tag: 0) }
            } catch {
                let failure = BindFailure(address, error)
                if failure != told { report(.failed(failure)) }
                if failsHard { throw failure }
                told = failure
                try? await Task.sleep(for: retryInterval)
            }
        }
    }

    private func listen(_ pool: NIOLoopBoundBox<ConnectionPool>) async throws -> any Channel {
        let listener = Listener(loop: thread.loop, limits: limits)
        func bind(_ address: IPAddress) async throws -> any Channel {
            try await listener.bind(
                address, port: self.address.port, bothFamilies: true, pool: pool, tag: 0, answering
            ).get()
        }
        if let address = address.address { return try await bind(address) }
        do {
            return try await bind(IPAddress(v6: 0))
        } catch {
            guard BindFailure(address, error).isMissingFamily else { throw error }
            return try await bind(IPAddress(v4: 0))
        }
    }

    private func untilClosed(_ channel: any Channel) async {
        await withTaskCancellationHandler {
            try? await channel.closeFuture.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

extension Channel {
    fileprivate var localPort: UInt16? { localAddress?.port.flatMap { UInt16(exactly: $0) } }
}
