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
                ("affinity", \.affinity),
            ]),
        Layout(
            nt_range_key4.self, "nt_range_key4",
            [("prefix_length", \.prefix_length), ("service", \.service), ("addr", \.addr)]),
        Layout(
            nt_range_key6.self, "nt_range_key6",
            [("prefix_length", \.prefix_length), ("service", \.service), ("addr", \.addr)]),
        Layout(nt_address_key4.self, "nt_address_key4", [("addr", \.addr)]),
        Layout(nt_address_key6.self, "nt_address_key6", [("addr", \.addr)]),
        Layout(nt_address.self, "nt_address", [("flags", \.flags)]),
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
                ("path", \.path),
            ]),
        Layout(
            nt_path.self, "nt_path",
            [
                ("ifindex", \.ifindex), ("mtu", \.mtu), ("flags", \.flags), ("pad", \.pad),
                ("destination", \.destination), ("source", \.source),
            ]),
        Layout(nt_flow4.self, "nt_flow4", [("head", \.head), ("src", \.src), ("dst", \.dst)]),
        Layout(nt_flow6.self, "nt_flow6", [("head", \.head), ("src", \.src), ("dst", \.dst)]),
        Layout(nt_affinity_key.self, "nt_affinity_key", [("client", \.client), ("service", \.service)]),
        Layout(nt_affinity.self, "nt_affinity", [("used", \.used), ("backend", \.backend), ("pad", \.pad)]),
        Layout(
            nt_fragment_key.self, "nt_fragment_key",
            [
                ("src", \.src), ("dst", \.dst), ("id", \.id), ("protocol", \.protocol), ("family", \.family),
                ("pad", \.pad),
            ]),
        Layout(nt_fragment.self, "nt_fragment", [("sport", \.sport), ("dport", \.dport), ("seen", \.seen)]),
        Layout(nt_device.self, "nt_device", [("flags", \.flags), ("addr4", \.addr4), ("addr6", \.addr6)]),
        Layout(nt_counters.self, "nt_counters", [("value", \.value)]),
        Layout(
            nt_service_stats.self, "nt_service_stats",
            [
                ("packets", \.packets), ("bytes", \.bytes), ("new_flows", \.new_flows), ("refused", \.refused),
            ]),
        Layout(
            nt_event_control.self, "nt_event_control",
            [("until", \.until), ("kinds", \.kinds), ("sample", \.sample)]),
        Layout(
            nt_trace.self, "nt_trace",
            [
                ("counted", \.counted), ("flags", \.flags), ("service", \.service), ("set", \.set), ("slot", \.slot),
                ("slots", \.slots), ("backend", \.backend), ("frontend_flags", \.frontend_flags),
                ("flow_flags", \.flow_flags), ("scope", \.scope), ("refusal", \.refusal), ("fib", \.fib),
                ("path", \.path), ("src", \.src), ("dst", \.dst), ("sport", \.sport), ("dport", \.dport),
                ("pad", \.pad),
            ]),
        Layout(
            nt_config.self, "nt_config",
            [
                ("host_netns", \.host_netns), ("nat_port_first", \.nat_port_first),
                ("nat_port_last", \.nat_port_last), ("udp_idle", \.udp_idle),
                ("new_flow_limit", \.new_flow_limit), ("answer_limit", \.answer_limit), ("sockets", \.sockets),
                ("tracing", \.tracing),
            ]),
        Layout(nt_cidr4.self, "nt_cidr4", [("addr", \.addr), ("mask", \.mask)]),
        Layout(nt_cidr6.self, "nt_cidr6", [("addr", \.addr), ("mask", \.mask)]),
        Layout(
            nt_node.self, "nt_node",
            [
                ("addr4", \.addr4), ("addr6", \.addr6), ("cluster_first4", \.cluster_first4),
                ("cluster_last4", \.cluster_last4), ("pad", \.pad), ("cluster_first6", \.cluster_first6),
                ("cluster_last6", \.cluster_last6), ("cidr4", \.cidr4), ("cidr6", \.cidr6),
                ("pods4", \.pods4), ("pods6", \.pods6),
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
        #expect(Set(DatapathProgram.attachable.map(\.name)).isSubset(of: object.programNames))
    }
}
