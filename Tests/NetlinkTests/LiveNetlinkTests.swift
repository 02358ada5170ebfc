import Foundation
import NetLab
import NetTypes
import Netlink
import TestSupport
import Testing

@Suite(.needsRoot, .timeLimit(.minutes(5))) struct LiveNetlinkTests {
    private let namespace: NetworkNamespace

    init() throws {
        namespace = try NetworkNamespace(name: "test")
    }

    @Test func newNamespaceHasOnlyLoopback() throws {
        let interfaces = try namespace.withNetlink { try $0.listInterfaces() }
        #expect(interfaces.map(\.name) == ["lo"])
        let loopback = try #require(interfaces.first)
        #expect(loopback.isLoopback && loopback.isUp && loopback.hardwareType == .loopback && loopback.kind == nil)
        let addresses = try namespace.withNetlink { try $0.listAddresses() }
        #expect(Set(addresses.map(\.address.description)) == ["127.0.0.1", "::1"])
        #expect(addresses.allSatisfy { $0.scope == .host && $0.isUsable && $0.interfaceIndex == loopback.index })
    }

    @Test func vethPairKnowsItsPeer() throws {
        let mac = try #require(MACAddress("02:00:00:00:00:01"))
        let (a, b) = try namespace.withNetlink { netlink in
            try netlink.createVeth(VethEnd(name: "a", hardwareAddress: mac), peer: VethEnd(name: "b"))
            return (try netlink.interface(named: "a"), try netlink.interface(named: "b"))
        }
        #expect(a?.kind == "veth" && a?.hardwareType == .ethernet && a?.mtu == 1500 && a?.isUp == false)
        #expect(a?.hardwareAddress == mac)
        #expect(a?.peerIndex == b?.index && b?.peerIndex == a?.index && a?.index != b?.index)
    }

    @Test func interfaceMovesToAnotherNamespace() throws {
        let other = try NetworkNamespace(name: "other")
        try namespace.withNetlink { netlink in
            try netlink.createVeth(VethEnd(name: "a"), peer: VethEnd(name: "b"))
            let index = try #require(try netlink.interface(named: "b")).index
            try netlink.moveInterface(index, toNamespace: other.rawDescriptor)
            #expect(try netlink.interface(named: "b") == nil)
        }
        #expect(try other.withNetlink { try $0.interface(named: "b") } != nil)
    }

    @Test(arguments: ["192.0.2.1/24", "2001:db8::1/64"])
    func addressesAreUsableAtOnce(_ text: String) throws {
        let prefix = try #require(CIDR(text))
        let address = try #require(IPAddress(String(text.prefix { $0 != "/" })))
        try namespace.withNetlink { netlink in
            try netlink.createVeth(VethEnd(name: "a"), peer: VethEnd(name: "b"))
            let index = try #require(try netlink.interface(named: "a")).index
            for name in ["a", "b"] { try netlink.setUp(try #require(try netlink.interface(named: name)).index) }
            try netlink.addAddress(address, prefixLength: prefix.length, to: index)
            let found = try #require(try netlink.listAddresses().first { $0.address == address })
            #expect(found.interfaceIndex == index && found.prefixLength == prefix.length && found.isUsable)
            try netlink.removeAddress(address, prefixLength: prefix.length, from: index)
            #expect(try !netlink.listAddresses().contains { $0.address == address })
        }
    }

    @Test func routesAndNeighbors() throws {
        let mac = try #require(MACAddress("02:00:00:00:00:02"))
        let gateway = try #require(IPAddress("192.0.2.2"))
        let destination = try #require(CIDR("203.0.113.0/24"))
        try namespace.withNetlink { netlink in
            try netlink.createVeth(VethEnd(name: "a"), peer: VethEnd(name: "b"))
            let index = try #require(try netlink.interface(named: "a")).index
            for name in ["a", "b"] { try netlink.setUp(try #require(try netlink.interface(named: name)).index) }
            #expect(throws: NetlinkError.self) { try netlink.addRoute(to: destination, via: gateway, interface: index) }
            try netlink.addRoute(to: try #require(CIDR("192.0.2.2/32")), interface: index)
            try netlink.addRoute(to: destination, via: gateway, interface: index)
            try netlink.addNeighbor(gateway, at: mac, interface: index)
            try netlink.addNeighbor(gateway, at: mac, interface: index)
            try netlink.removeRoute(to: destination, via: gateway, interface: index)
            let again = #expect(throws: NetlinkError.self) {
                try netlink.removeRoute(to: destination, via: gateway, interface: index)
            }
            #expect(again?.isAbsence == true)
        }
    }

    @Test func errorsNameTheObjectAndTheKernelsReason() throws {
        try namespace.withNetlink { netlink in
            let taken = #expect(throws: NetlinkError.self) {
                try netlink.createVeth(VethEnd(name: "lo"), peer: VethEnd(name: "b"))
            }
            #expect(taken?.isDuplicate == true)
            #expect(taken?.description.contains("interfaces lo and b") == true)
            let tooLong = #expect(throws: NetlinkError.self) {
                try netlink.createVeth(VethEnd(name: "0123456789abcdefg"), peer: VethEnd(name: "b"))
            }
            #expect(tooLong?.kernelText?.isEmpty == false, "\(String(describing: tooLong))")
            let gone = #expect(throws: NetlinkError.self) { try netlink.deleteInterface(4711) }
            #expect(gone?.isAbsence == true && gone?.advice != nil)
            let count = try netlink.listInterfaces().count
            #expect(count == 1, "the socket is in step after errors")
        }
    }

    @Test func dumpsLargerThanOneDatagram() throws {
        try namespace.withNetlink { netlink in
            for i in 0..<60 { try netlink.createVeth(VethEnd(name: "a\(i)"), peer: VethEnd(name: "b\(i)")) }
            #expect(try netlink.listInterfaces().count == 121)
        }
    }

    @Test(arguments: ["192.0.2.1", "2001:db8::1"])
    func monitorTellsWhatComesAndGoes(_ text: String) async throws {
        let address = try #require(IPAddress(text))
        let monitor = try namespace.run { try NetlinkMonitor() }
        var feed = ChangeFeed(monitor)
        try namespace.withNetlink { try $0.createVeth(VethEnd(name: "a"), peer: VethEnd(name: "b")) }
        let appeared = await feed.next {
            if case .interfaceAppeared(let interface) = $0, interface.name == "a" { interface } else { nil }
        }
        let a = try #require(appeared)
        #expect(a.kind == "veth" && !a.isUp)

        try namespace.withNetlink { netlink in
            try netlink.setUp(a.index)
            try netlink.addAddress(address, prefixLength: 24, to: a.index)
        }
        let up = await feed.next {
            if case .interfaceChanged(let interface) = $0, interface.index == a.index, interface.isUp {
                true
            } else {
                nil
            }
        }
        #expect(up == true)
        // The kernel tells of an IPv6 address from a work queue, after the request is done.
        let added = await feed.next {
            if case .addressAdded(let added) = $0, added.address == address { added } else { nil }
        }
        #expect(added?.interfaceIndex == a.index && added?.prefixLength == 24)

        try namespace.withNetlink { netlink in
            try netlink.removeAddress(address, prefixLength: 24, from: a.index)
            try netlink.deleteInterface(a.index)
        }
        let removed = await feed.next {
            if case .addressRemoved(let removed) = $0 { removed.address == address ? removed : nil } else { nil }
        }
        #expect(removed?.interfaceIndex == a.index)
        let vanished = await feed.next {
            if case .interfaceVanished(let interface) = $0 { interface.index == a.index ? interface : nil } else { nil }
        }
        #expect(vanished?.name == "a")
    }

    @Test func knownInterfacesDoNotAppearAgain() async throws {
        try namespace.withNetlink { try $0.createVeth(VethEnd(name: "a"), peer: VethEnd(name: "b")) }
        let monitor = try namespace.run { try NetlinkMonitor() }
        try namespace.withNetlink { netlink in
            try netlink.setUp(try #require(try netlink.interface(named: "a")).index)
        }
        var events = monitor.events.makeAsyncIterator()
        guard case .changed(let changes) = await events.next() else {
            Issue.record("no change was told")
            return
        }
        guard case .interfaceChanged(let interface) = changes.first else {
            Issue.record("not a change of an interface: \(changes)")
            return
        }
        #expect(interface.name == "a" && interface.isUp)
    }

    @Test func monitorTellsOfOverrun() async throws {
        let address = try #require(IPAddress("192.0.2.1"))
        // The kernel's smallest queue: two or three notifications.
        let monitor = try namespace.run { try NetlinkMonitor(receiveBuffer: 1) }
        try namespace.withNetlink { netlink in
            for _ in 0..<1000 {
                try netlink.addAddress(address, prefixLength: 32, to: 1)
                try netlink.removeAddress(address, prefixLength: 32, from: 1)
            }
        }
        let isTold = await monitor.events.contains(.overrun)
        #expect(isTold)
    }

    @Test func cancelledMonitorEnds() async throws {
        let monitor = try namespace.run { try NetlinkMonitor() }
        monitor.cancel()
        monitor.cancel()
        for await _ in monitor.events {}
    }
}

/// The changes of a monitor, one by one.
private struct ChangeFeed {
    private var events: AsyncStream<NetlinkMonitor.Event>.Iterator
    private var pending: ArraySlice<NetlinkMonitor.Change> = []

    init(_ monitor: NetlinkMonitor) {
        events = monitor.events.makeAsyncIterator()
    }

    /// What `fits` makes of the first change for which it makes anything; `nil` when the stream ends or overruns first.
    mutating func next<R>(_ fits: (NetlinkMonitor.Change) -> R?) async -> R? {
        while true {
            while let change = pending.popFirst() {
                if let result = fits(change) { return result }
            }
            guard case .changed(let changes) = await events.next(isolation: nil) else { return nil }
            #expect(!changes.isEmpty)
            pending = changes[...]
        }
    }
}
