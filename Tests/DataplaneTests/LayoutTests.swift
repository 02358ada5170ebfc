import BPF
import Dataplane
import NeedletailABI
import Testing

/// Swift and the BPF programs see the same structs, byte for byte: the compiler of each says so.
@Suite struct LayoutTests {
    /// A struct as Swift sees it.
    struct Layout: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let size: Int
        let stride: Int
        let offsets: [String: Int]

        /// Members are in the order of C's names.
        init<T>(_ type: T.Type, _ name: String, _ members: [(String, PartialKeyPath<T>)]) {
            testDescription = name
            size = MemoryLayout<T>.size
            stride = MemoryLayout<T>.stride
            offsets = Dictionary(
                uniqueKeysWithValues: members.map { ($0.0, MemoryLayout<T>.offset(of: $0.1) ?? -1) })
        }
    }

    static let layouts: [Layout] = [
        Layout(nt_addr.self, "nt_addr", [("w", \.w)]),
        Layout(
            nt_frontend_key4.self, "nt_frontend_key4",
            [("addr", \.addr), ("port", \.port), ("protocol", \.protocol), ("pad", \.pad)]),
        Layout(
            nt_frontend_key6.self, "nt_frontend_key6",
            [("addr", \.addr), ("port", \.port), ("protocol", \.protocol), ("pad", \.pad)]),
        Layout(
            nt_frontend.self, "nt_frontend",
            [
                ("addr", \.addr), ("port", \.port), ("protocol", \.protocol), ("family", \.family), ("flags", \.flags),
                ("service", \.service), ("set", \.set), ("refusal", \.refusal), ("pad", \.pad),
            ]),
        Layout(
            nt_set.self, "nt_set",
            [("line", \.line), ("slots", \.slots), ("backends", \.backends), ("pad", \.pad), ("digest", \.digest)]),
        Layout(nt_slot_line.self, "nt_slot_line", [("slot", \.slot)]),
        Layout(
            nt_backend.self, "nt_backend",
            [
                ("addr", \.addr), ("port", \.port), ("protocol", \.protocol), ("family", \.family), ("state", \.state),
                ("flags", \.flags), ("pad", \.pad),
            ]),
        Layout(
            nt_service_info.self, "nt_service_info",
            [
                ("service_namespace", \.service_namespace), ("name", \.name), ("port_name", \.port_name),
                ("protocol", \.protocol), ("pad", \.pad),
            ]),
        Layout(
            nt_flow_key4.self, "nt_flow_key4",
            [
                ("src", \.src), ("dst", \.dst), ("sport", \.sport), ("dport", \.dport), ("protocol", \.protocol),
                ("direction", \.direction), ("pad", \.pad),
            ]),
        Layout(
            nt_flow_key6.self, "nt_flow_key6",
            [
                ("src", \.src), ("dst", \.dst), ("sport", \.sport), ("dport", \.dport), ("protocol", \.protocol),
                ("direction", \.direction), ("pad", \.pad),
            ]),
        Layout(
            nt_flow.self, "nt_flow",
            [
                ("check", \.check), ("seen", \.seen), ("created", \.created), ("flags", \.flags),
                ("backend", \.backend), ("service", \.service), ("sport", \.sport), ("dport", \.dport),
            ]),
        Layout(nt_flow4.self, "nt_flow4", [("head", \.head), ("src", \.src), ("dst", \.dst)]),
        Layout(nt_flow6.self, "nt_flow6", [("head", \.head), ("src", \.src), ("dst", \.dst)]),
        Layout(nt_counters.self, "nt_counters", [("value", \.value)]),
        Layout(
            nt_config.self, "nt_config",
            [
                ("remap_port_first", \.remap_port_first), ("remap_port_last", \.remap_port_last),
                ("udp_idle", \.udp_idle),
            ]),
        Layout(
            nt_meta.self, "nt_meta",
            [
                ("abi_version", \.abi_version), ("agent_pid", \.agent_pid), ("agent_started", \.agent_started),
                ("last_sync", \.last_sync), ("syncs", \.syncs), ("sync_failures", \.sync_failures),
                ("node_name", \.node_name), ("agent_version", \.agent_version),
            ]),
    ]

    @Test(arguments: layouts)
    func sameAsInTheObject(_ layout: Layout) throws {
        let object = try Datapath.open()
        let compiled = try object.layout(ofStruct: layout.testDescription)
        #expect(layout.size == compiled.size)
        #expect(layout.stride == compiled.size, "records follow each other without gaps")
        #expect(layout.offsets == Dictionary(uniqueKeysWithValues: compiled.members.map { ($0.name, $0.offset) }))
        // No implicit padding: keys are compared, and values digested, as bytes.
        #expect(compiled.members.reduce(0) { $0 + $1.size } == compiled.size)
    }

    @Test("Every counter and program has a name of its own and a number that fits the map")
    func names() {
        #expect(DatapathCounter.allCases.count == Int(NT_COUNTER_COUNT))
        #expect(Set(DatapathCounter.allCases.map(\.name)).count == Int(NT_COUNTER_COUNT))
        #expect(DatapathProgram.allCases.count == Int(NT_PROGRAM_COUNT))
    }

    @Test func everyProgramIsInTheObject() throws {
        let object = try Datapath.open()
        #expect(Set(DatapathProgram.allCases.map(\.name)) == Set(object.programNames))
    }
}
