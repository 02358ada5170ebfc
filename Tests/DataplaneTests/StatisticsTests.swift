import BPF
import NeedletailABI
import PacketKit
import Planning
import TestSupport
import Testing

@testable import Dataplane

/// What the control plane reads of what the programs count.
@Suite(.needsRoot) struct StatisticsTests {
    private func id(_ lab: Lab, _ scene: Scene) throws -> ServiceID {
        try #require(try lab.image().frontends[scene.frontend()]).service
    }

    @Test("A service port's packets and bytes are counted by direction, its flows once", arguments: Scene.all)
    func traffic(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()]), scene.serving([scene.backend(2)], number: 2)])
            let id = try id(lab, scene)
            let requests = [scene.request(), scene.request(.ack), scene.request(.ack, payload: "more")]
            for request in requests { _ = try lab.run(request.bytes, in: scene.ingress) }
            _ = try lab.run(scene.reply().bytes, in: scene.egress)
            // Bytes are counted from the IP header on.
            let ethernet = 14
            var expected = ServiceStatistics()
            expected.forward.packets = UInt64(requests.count)
            expected.forward.bytes = UInt64(requests.reduce(0) { $0 + $1.bytes.count - ethernet })
            expected.reverse.packets = 1
            expected.reverse.bytes = UInt64(scene.reply().bytes.count - ethernet)
            expected.newFlows = 1
            let statistics = try ServiceStatistics.read(lab.datapath.maps)
            #expect(statistics[id] == expected)
            #expect(statistics.count == 2)
            #expect(statistics.values.count { $0 == ServiceStatistics() } == 1, "the other has none")
        }
    }

    @Test("Who is given an id that another had begins from zero")
    func idsGivenAgain() throws {
        let scene = try #require(Scene.all.first { $0.ingress == .workloadIngress })
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let id = try id(lab, scene)
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            #expect(try ServiceStatistics.read(lab.datapath.maps, ids: [id])[id]?.newFlows == 1)
            try lab.perform([.service(id, nil), .service(id, scene.name(2))])
            #expect(try ServiceStatistics.read(lab.datapath.maps, ids: [id])[id] == ServiceStatistics())
        }
    }

    @Test("Ids beyond the map have no statistics")
    func beyond() throws {
        try Lab.withLab { lab in
            let last = ServiceID(rawValue: Lab.settings.maxServices)
            let beyond = ServiceID(rawValue: Lab.settings.maxServices + 1)
            let statistics = try ServiceStatistics.read(lab.datapath.maps, ids: [last, beyond])
            #expect(Set(statistics.keys) == [last])
        }
    }

    @Test func refusalsAndCPUsAreSummed() {
        var (one, other) = (nt_service_stats(), nt_service_stats())
        one.packets = (1, 2)
        one.bytes = (30, 40)
        one.new_flows = 5
        one.refused = (6, 0, 0, 7)
        other.packets = (100, 200)
        other.refused = (0, 0, 1, 1)
        let sum = ServiceStatistics([one, other])
        #expect(sum.forward.packets == 101 && sum.reverse.packets == 202)
        #expect(sum.forward.bytes == 30 && sum.reverse.bytes == 40 && sum.newFlows == 5)
        #expect(sum.refused == [.noEndpoints: 6, .sourceRange: 1, .other: 8])
        #expect(sum.allRefused == 15)
        #expect(Set(StatRefusal.allCases.map(\.name)).count == Int(NT_STAT_REFUSAL_COUNT))
    }

    @Test("Between two readings is what came; after a new beginning, what the later says")
    func differences() {
        var stats = nt_service_stats()
        stats.packets = (10, 10)
        stats.refused = (3, 0, 0, 0)
        let earlier = ServiceStatistics([stats])
        stats.packets = (15, 10)
        stats.refused = (3, 2, 0, 0)
        let later = ServiceStatistics([stats])
        let difference = later.since(earlier)
        #expect(difference.forward.packets == 5 && difference.reverse.packets == 0)
        #expect(difference.refused == [.noLocalEndpoints: 2])
        #expect(earlier.since(later) == earlier)
    }
}
