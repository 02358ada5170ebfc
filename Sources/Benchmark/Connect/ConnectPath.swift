internal import Dataplane
internal import NeedletailABI
internal import NetLab
internal import NetTypes

/// From where the measured Service is connected to, and by which of its frontends.
enum ConnectPath: String, Sendable, Hashable, CaseIterable {
    /// From a pod of the node to the ClusterIP: Needletail at tc.
    case pod
    /// From a process of the node to the ClusterIP: Needletail in `connect(2)`.
    case host
    /// From outside of the cluster to the NodePort: Needletail at XDP.
    case outside

    /// Where the client is.
    func client(_ chain: Chain) -> Host {
        switch self {
        case .pod: chain.pod
        case .host: chain.node
        case .outside: chain.client
        }
    }

    /// What it connects to.
    var frontend: BenchFrontend { self == .outside ? .nodePort : .clusterIP }

    /// What Needletail is called here.
    var needletail: NeedletailHooks {
        switch self {
        case .pod: .tc
        case .host: .sockets("")
        case .outside: .xdp
        }
    }

    /// Which of its programs leads each connection to a backend.
    var program: DatapathProgram {
        switch self {
        case .pod: .workloadIngress
        case .host: .socket
        case .outside: .externalXDP
        }
    }
}

extension LoadKind {
    var unit: Measurement.Unit {
        switch self {
        case .connect: .connectionsPerSecond
        case .request: .requestsPerSecond
        case .bulk: .bitsPerSecond
        }
    }

    /// What a reader must know.
    func note(_ connections: Int) -> String {
        switch self {
        case .connect:
            """
            closed loop, \(connections) connections at a time, one request of 64 bytes each; the server closes first, so \
            TIME_WAIT is on its side; latency is from connect() to the end of the stream, of connections that were made
            """
        case .request:
            """
            closed loop over \(connections) open connections, 64 bytes each way; latency is of requests that were sent: a \
            stall keeps others from being sent
            """
        case .bulk:
            """
            \(connections) connections from client to backend, counted where it arrives; without segmentation offload, so \
            that each packet is of one MTU
            """
        }
    }
}
