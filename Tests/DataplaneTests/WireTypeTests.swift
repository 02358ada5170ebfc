import NeedletailABI
import NetTypes
import Planning
import ServiceModel
import TestSupport
import Testing

@testable import Dataplane

/// Random values of the control plane's types.
struct RandomValues {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func number<T: FixedWidthInteger & UnsignedInteger>(_ range: ClosedRange<T> = 0...T.max) -> T {
        .random(in: range, using: &generator)
    }

    mutating func one<T>(of values: [T]) -> T { values[Int.random(in: values.indices, using: &generator)] }

    mutating func address(_ family: IPFamily) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC612_0000 | number(0...0x1FFFF))
            : IPAddress(v6: 0x2001_0DB8 << 96 | UInt128(number() as UInt64))
    }

    mutating func endpoint(_ family: IPFamily? = nil, _ transport: TransportProtocol? = nil) -> TransportEndpoint {
        let family = family ?? one(of: IPFamily.allCases)
        return TransportEndpoint(address(family), number(), transport ?? one(of: TransportProtocol.allCases))
    }

    mutating func scope() -> ScopeRecord {
        Bool.random(using: &generator)
            ? .set(SetID(rawValue: number(1...UInt32.max)))
            : .refuse(one(of: [.noEndpoints, .noLocalEndpoints]))
    }

    mutating func label(upTo length: Int) -> String {
        String((0..<Int.random(in: 1...length, using: &generator)).map { _ in one(of: Array("abcxyz019-.")) })
    }
}

/// What is written to a map is what is read from it.
@Suite struct WireTypeTests {
    private static let seed = UInt64.random(in: 0...UInt64.max)

    private static func forRandomValues(_ body: (inout RandomValues) throws -> Void) rethrows {
        var random = RandomValues(seed: seed)
        for _ in 0..<500 { try body(&random) }
    }

    @Test func ports() {
        for port in UInt16.min...UInt16.max {
            let wire = nt_frontend_key4(TransportEndpoint(IPAddress(v4: 0xC612_0001), port, .tcp)).port
            #expect(wire.port == port)
            withUnsafeBytes(of: wire) { #expect(Array($0) == [UInt8(port >> 8), UInt8(port & 0xFF)]) }
        }
    }

    @Test func addressesAreInNetworkByteOrder() {
        Self.forRandomValues { random in
            for family in IPFamily.allCases {
                let address = random.address(family)
                let words = address.words
                #expect(IPAddress(words: words, family) == address, "seed \(Self.seed)")
                withUnsafeBytes(of: words) { bytes in
                    let zeros = [UInt8](repeating: 0, count: 16 - address.bytes.count)
                    #expect(Array(bytes) == address.bytes + zeros, "seed \(Self.seed)")
                }
            }
        }
    }

    @Test func frontends() {
        Self.forRandomValues { random in
            let key = random.endpoint()
            let record = FrontendRecord(
                flags: FrontendFlags(rawValue: random.number()), service: ServiceID(rawValue: random.number()),
                external: random.scope(), internal: random.scope())
            let wire = record.wire(for: key)
            #expect(FrontendRecord(wire) == record, "seed \(Self.seed)")
            #expect(IPAddress(words: wire.addr.w, key.address.family) == key.address)
            #expect(wire.port.port == key.port && wire.protocol == key.transport.rawValue)
            #expect(wire.family == key.address.family.rawValue)
            let read =
                key.address.family == .v4 ? nt_frontend_key4(key).endpoint : nt_frontend_key6(key).endpoint
            #expect(read == key, "seed \(Self.seed)")
        }
    }

    @Test func sets() {
        Self.forRandomValues { random in
            let record = SetRecord(
                line: random.number(), slots: random.number(1...UInt32.max), backends: random.number(),
                digest: random.number())
            #expect(SetRecord(record.wire) == record, "seed \(Self.seed)")
        }
        #expect(SetRecord(nt_set()) == nil, "a zeroed element is no set")
    }

    @Test func backends() {
        Self.forRandomValues { random in
            let record = BackendRecord(
                endpoint: random.endpoint(), state: random.one(of: [.active, .terminating, .gone]),
                isLocal: random.one(of: [true, false]))
            #expect(BackendRecord(record.wire) == record, "seed \(Self.seed)")
        }
        #expect(BackendRecord(nt_backend()) == nil, "a zeroed element is no backend")
    }

    @Test func services() {
        Self.forRandomValues { random in
            let name = ServicePortName(
                service: ObjectName(namespace: random.label(upTo: 63), name: random.label(upTo: 63)),
                port: random.label(upTo: 63), transport: random.one(of: TransportProtocol.allCases))
            #expect(ServicePortName(name.wire) == name, "seed \(Self.seed)")
        }
        let unnamed = ServicePortName(
            service: ObjectName(namespace: "a", name: "b"), port: "", transport: .sctp)
        #expect(ServicePortName(unnamed.wire) == unnamed)
    }

    @Test func flowKeys() {
        Self.forRandomValues { random in
            let family = random.one(of: IPFamily.allCases)
            let transport = random.one(of: [TransportProtocol.tcp, .udp])
            let tuple = FlowTuple(
                source: random.endpoint(family, transport), destination: random.endpoint(family, transport))
            let direction = random.one(of: [FlowDirection.forward, .reverse])
            let key: any WireFlowKey =
                family == .v4 ? nt_flow_key4(tuple, direction) : nt_flow_key6(tuple, direction)
            #expect(key.tuple == tuple, "seed \(Self.seed)")
            #expect(key.flowDirection == direction)
        }
    }

    @Test("Values that no agent writes are not misread")
    func foreignValues() {
        var key = nt_frontend_key4()
        key.protocol = 99
        #expect(key.endpoint == nil)
        var backend = BackendRecord(
            endpoint: TransportEndpoint(IPAddress(v4: 0xC612_0001), 1, .tcp), state: .active, isLocal: false
        ).wire
        backend.state = 4
        #expect(BackendRecord(backend) == nil)
        (backend.state, backend.family) = (1, 5)
        #expect(BackendRecord(backend) == nil)
        #expect(ScopeRecord(SetID(rawValue: 0), 200) == .refuse(.noEndpoints))
        var flow = nt_flow_key6()
        flow.direction = 2
        #expect(flow.flowDirection == nil)
        #expect(flow.tuple == nil, "protocol 0")
    }
}
