import BPF
import Dataplane
import Foundation
import Inspection
import NeedletailABI
import NetLab
import Netlink
import Testing

@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct StatusTests {
    let datapath: TestDatapath

    init() throws {
        datapath = try Scene.datapath()
        try datapath.storeNodeRecord()
    }

    @Test func anAgentThatIsDown() throws {
        let text = try datapath.inspector.status().text(.normal)
        #expect(
            text.hasPrefix(
                "Agent:       not running (last: pid 4711, version 0.1.0, node worker-1); forwarding goes on\n"))
        #expect(text.contains("(12 syncs, 1 failed)"))
        #expect(text.contains("Frontends:   7 IPv4, 1 IPv6, 0 of them retired\n"))
        #expect(text.contains("Services:    5 ports, 6 backend sets\n"))
        #expect(text.contains("Backends:    9 active, 0 terminating, 0 gone\n"))
        #expect(text.contains("Sockets:     no hooks; the node's own processes do not reach ClusterIPs\n"))
        #expect(text.contains("Flows IPv4:  6 of 4096 entries (0.15%), two to a flow\n"))
        #expect(text.contains("No device carries the datapath.\n"))
    }

    @Test func anAgentThatRuns() throws {
        let lock = try AgentLock(datapath.pins)
        let text = try datapath.inspector.status().text(.normal)
        lock.release()
        #expect(text.hasPrefix("Agent:       running (pid 4711, version 0.1.0, node worker-1)\n"))
        let agent = try #require(document(try datapath.inspector.status())["agent"] as? [String: Any])
        #expect(agent["running"] as? Bool == false)
    }

    @Test func noAgentYet() throws {
        let fresh = try TestDatapath()
        let text = try fresh.inspector.status().text(.normal)
        #expect(text.hasPrefix("Agent:       not running; forwarding goes on\n"))
        #expect(text.contains("Last sync:   never (0 syncs, 0 failed)\n"))
        #expect(text.contains("No packet has been counted yet.\n"))
    }

    @Test func countersThatAreNotZero() throws {
        try datapath.send(
            Packet(try endpoint("192.0.2.9:40000/TCP"), try endpoint("198.18.0.12:80/TCP"), flags: Packet.syn),
            by: .externalIngress)
        let text = try datapath.inspector.status().text(.normal)
        let counters = text.split(separator: "\n").drop { !$0.hasPrefix("OUTCOME") }.map(String.init)
        #expect(
            counters == [
                "OUTCOME     COUNTER       PACKETS  MEANING",
                "translated  forward-new         4  client to backend, flow created",
                "translated  reverse             1  backend to client",
                "answered    reset               1  TCP reset sent",
                "dropped     no-endpoints        1  the Service has no usable endpoints",
            ])
        let wide = rows(try datapath.inspector.status().text(.wide))
        #expect(wide.contains { $0.prefix(8) == ["dropped", "no-endpoints", "1", "0", "1", "0", "0", "0"] })
        #expect(wide.contains { $0.prefix(3) == ["passed", "not-ip", "0"] })
    }

    @Test func devicesAndThoseThatAreGone() async throws {
        let namespace = try NetworkNamespace(name: "status")
        let pins = datapath.pins
        let attachments = Attachments(datapath.datapath, pins: pins, options: AttachmentOptions())
        let present = try await offPool {
            try namespace.withNetlink { netlink in
                try netlink.createVeth(VethEnd(name: "pod0"), peer: VethEnd(name: "pod1"))
                let device = try #require(try netlink.interface(named: "pod0"))
                _ = try attachments.attach(device, role: .workload)
                return try Inspector(pins: pins).status().text(.normal)
            }
        }
        let devices = rows(present).filter { $0.first == "pod0" }
        #expect(!present.contains("not attached"))
        #expect(devices.map { $0[2] } == ["workload_ingress", "workload_egress"])
        let gone = try await offPool {
            try namespace.withNetlink { netlink in
                try netlink.deleteInterface(try #require(try netlink.interface(named: "pod0")).index)
                return try Inspector(pins: pins).status().text(.normal)
            }
        }
        let lost = gone.split(separator: "\n").filter { $0.hasSuffix("not attached: the device is gone") }
        #expect(lost.count == 2)
        #expect(lost.allSatisfy { $0.hasPrefix("?") })
    }

    /// Our coordinates are no proof: the filter that is there can be another's.
    @Test func aFilterOfOthersIsNotOurs() async throws {
        let namespace = try NetworkNamespace(name: "status")
        let (datapath, pins) = (datapath.datapath, datapath.pins)
        var options = AttachmentOptions()
        options.tc = .clsact
        let attachments = Attachments(datapath, pins: pins, options: options)
        let other = try #require(datapath.programs[.externalEgress])
        let (before, after) = try await offPool {
            try namespace.withNetlink { netlink in
                try netlink.createVeth(VethEnd(name: "pod0"), peer: VethEnd(name: "pod1"))
                let device = try #require(try netlink.interface(named: "pod0"))
                _ = try attachments.attach(device, role: .workload)
                let before = Attachments.all(in: pins).filter { $0.isInPlace(pins) }.map(\.program)
                try other.attachClsact(
                    interface: Int32(device.index), direction: .ingress, handle: 0x4e54, priority: 0x4e54)
                return (before, try JSONDocument().encode(try Inspector(pins: pins).status()))
            }
        }
        #expect(before == [.workloadIngress, .workloadEgress])
        let status = try #require(try JSONSerialization.jsonObject(with: Data(after.utf8)) as? [String: Any])
        let views = try #require(status["attachments"] as? [[String: Any]])
        #expect(views.map { $0["attached"] as? Bool } == [false, true])
        for view in views {
            #expect(view.keys.sorted() == ["attached", "device", "interface", "mechanism", "present", "program"])
        }
    }
}
