internal import Dataplane
internal import NeedletailABI
internal import NetTypes

// Which cases there are, and what each of them needs to be there before.

extension PacketRun {
    private static let programs = DatapathProgram.attachable
    private static let ingress = programs.filter { !$0.isEgress }
    /// Those that masquerade: packets of workloads are let go by the stack.
    private static let external: [DatapathProgram] = [.externalXDP, .externalIngress]

    private func sets(_ kind: FlowSet.Kind) -> [FlowSet] {
        settings.families.flatMap { family in
            (kind == .masqueraded ? [.external] : ClientSide.allCases).map {
                FlowSet(side: $0, family: family, kind: kind)
            }
        }
    }

    /// Rooms of the tables that new flows go into.
    private var tables: [FlowCount] {
        Set(settings.flows.compactMap { FlowCount(max($0.count, Self.smallestTable)) }).sorted()
    }

    /// At which number of flows many Services are looked at.
    private var crowdedFlows: FlowCount {
        settings.flows.filter { $0.count <= Self.mostOfOthers }.max() ?? settings.flows[0]
    }

    /// Of each of many Services; all of them together are not more than a node can have.
    private func endpoints(_ services: Int) -> Int { max(1, min(settings.backends, 100_000 / services)) }

    private func room(_ flows: FlowCount) -> FlowCount { FlowCount(max(flows.count, Self.smallestTable)) ?? flows }

    // MARK: Preparation

    /// Loads a datapath for each number of flows and Services, and opens the flows.
    func prepare(_ progress: (String) -> Void) throws {
        for flows in settings.flows {
            progress("preparing \(flows) flow(s)")
            try prepareSteady(flows)
        }
        for table in tables {
            progress("filling tables of \(table) flows")
            try prepareChurning(table)
        }
        for services in Set(settings.services).sorted() {
            progress("preparing \(services) Service(s)")
            try prepareCrowded(services)
        }
    }

    private func prepareSteady(_ flows: FlowCount) throws {
        let hasOthers = flows.count <= Self.mostOfOthers
        // Some room to spare: free entries are kept per CPU, out of reach of the others.
        let spare = flows.count / 8 + 4096
        let rig = try Rig(
            Rig.Size(
                tcp: flows.count * (hasOthers ? 3 : 2) + spare, udp: hasOthers ? flows.count * 2 + spare : 1024,
                masqueraded: hasOthers ? flows.count : 1), node: node)
        for set in sets(.tcp) { try rig.prime(set, flows: flows) }
        if hasOthers { for set in sets(.udp) + sets(.masqueraded) { try rig.prime(set, flows: flows) } }
        for family in settings.families {
            for floor in [Floor.lruInsert, .denseInsert] where floor.has(family) {
                let (_, failures) = try rig.programs.run(
                    floor, floorFrame(family), .ordered(flows), runs: flows.count)
                guard failures == 0 else {
                    throw BenchmarkError.preparationFailed("\(floor.rawValue): \(failures) of \(flows) runs failed")
                }
            }
        }
        steady[flows] = rig
    }

    private func prepareChurning(_ table: FlowCount) throws {
        let rig = try Rig(Rig.Size(tcp: table.count), node: node)
        for family in settings.families {
            try rig.fill(FlowSet(side: .external, family: family), flows: table)
            // A floor has one entry for a flow, the datapath two.
            try rig.fill(.lruInsert, floorFrame(family), entries: table.count * 2)
            if Floor.denseInsert.has(family) {
                try rig.fill(.denseInsert, floorFrame(family), entries: rig.programs.denseEntries)
            }
        }
        churning[table] = rig
    }

    private func prepareCrowded(_ services: Int) throws {
        let flows = crowdedFlows
        let table = room(flows)
        var size = Rig.Size(
            tcp: flows.count * 2 + flows.count / 8 + 4096, services: services, endpoints: endpoints(services))
        let open = try Rig(size, node: node)
        for set in sets(.many(services)) { try open.prime(set, flows: flows) }
        size.tcp = table.count
        let full = try Rig(size, node: node)
        for family in settings.families {
            try full.fill(FlowSet(side: .external, family: family, kind: .many(services)), flows: table)
        }
        crowded[services] = (open, full)
    }

    private func floorFrame(_ family: IPFamily) -> Frame { FlowSet(side: .external, family: family).data }

    // MARK: A round

    /// Every case once. Programs one after the other, and not all of them on the same flows: what one leaves behind with
    /// the flows is over when the next comes to them, mostly without waiting for it.
    func takeRound() throws {
        try forEachSteady(takeFloors)
        for program in Self.programs {
            try forEachSteady { rig, family, flows in
                try takeFlows(rig, program, family, flows)
                if flows.count <= Self.mostOfOthers { try takeOthers(rig, program, family, flows) }
            }
        }
        for other in settings.others { try forEachSteady { try take(other, $0, $1, $2) } }
        for table in tables { try takeChurn(table) }
        for program in Self.ingress {
            for services in crowded.keys.sorted() {
                for family in settings.families { try takeCrowded(program, family, services) }
            }
        }
    }

    private func forEachSteady(_ body: (Rig, IPFamily, FlowCount) throws -> Void) rethrows {
        for flows in settings.flows {
            guard let rig = steady[flows] else { continue }
            for family in settings.families { try body(rig, family, flows) }
        }
    }

    private func takeFloors(_ rig: Rig, _ family: IPFamily, _ flows: FlowCount) throws {
        let frame = floorFrame(family)
        for hook in [Hook.xdp, .tc] {
            record(
                Self.key("harness", "empty", family, flows, hook: hook), try harness(rig, hook, frame, flows))
        }
        for floor in [Floor.macSwap, .stateless, .lruHit, .denseHit] where floor.has(family) {
            let key = Self.key("established", "floor \(floor.rawValue)", family, flows)
            try take(floor, key, rig, frame, .scattered(flows), flows)
        }
    }

    /// Flows that are open, and packets that belong to none.
    private func takeFlows(
        _ rig: Rig, _ program: DatapathProgram, _ family: IPFamily, _ flows: FlowCount
    ) throws {
        let set = FlowSet(side: program.side, family: family)
        try takeKnown(rig, program, set, isReply: program.isEgress, "", flows)
        let site = BenchSite(family: family)
        let clients = site.clients(program.side, .tcp)
        let stray =
            program.isEgress
            ? Frame(to: clients, from: site.stranger, .data) : Frame(from: clients, to: site.stranger, .data)
        try take(
            Self.key("not-a-service", program.name, family, flows), rig, program, stray, flows,
            expecting: Expectation(counters: [.passNotService]))
    }

    private func takeKnown(
        _ rig: Rig, _ program: DatapathProgram, _ set: FlowSet, isReply: Bool, _ suffix: String, _ flows: FlowCount
    ) throws {
        guard let frame = isReply ? set.reply : set.data else { return }
        func key(_ more: String) -> Measurement.Key {
            Self.key((isReply ? "reply" : "established") + suffix + more, program.name, set.family, flows)
        }
        try takeKnown(
            key(""), first: key("-first"), rig, program, set, frame, flows,
            expecting: Expectation(
                counters: [isReply ? .reverseTranslated : .forwardEstablished], verdict: set.verdict))
    }

    /// Cases that say nothing new with more flows.
    private func takeOthers(
        _ rig: Rig, _ program: DatapathProgram, _ family: IPFamily, _ flows: FlowCount
    ) throws {
        let udp = FlowSet(side: program.side, family: family, kind: .udp)
        try takeKnown(rig, program, udp, isReply: program.isEgress, "-udp", flows)
        try take(
            Self.key("icmp-error", program.name, family, flows), rig, program, error(program, family), flows,
            expecting: Expectation(counters: [.icmpTranslated]),
            reference: Self.reference(new: false, family, flows))
        guard !program.isEgress else { return }
        let site = BenchSite(family: family)
        for (quantity, peer, reason) in [
            ("refused-no-endpoints", site.idle(program.side), DatapathCounter.dropNoEndpoints),
            ("refused-unknown-port", site.unknownPort, .dropUnknownPort),
        ] {
            try take(
                Self.key(quantity, program.name, family, flows), rig, program,
                Frame(from: site.clients(program.side, .tcp), to: peer, .syn), flows,
                expecting: Expectation(counters: [reason, .answerReset], verdict: .send),
                chunk: program.hook == .tc ? Self.answerChunk : nil)
        }
        guard Self.external.contains(program) else { return }
        let set = FlowSet(side: .external, family: family, kind: .masqueraded)
        for isReply in [false, true] {
            try takeKnown(rig, program, set, isReply: isReply, "-masqueraded", flows)
        }
    }

    /// About a reply where packets come from clients, about a client's packet where they go to them; as the quoted
    /// packet was beyond this node.
    private func error(_ program: DatapathProgram, _ family: IPFamily) -> Frame {
        let site = BenchSite(family: family)
        let clients = site.clients(program.side, .tcp)
        return program.isEgress
            ? Frame(from: clients, to: site.backend(.tcp), .error(from: site.router, to: clients.address))
            : Frame(
                to: clients, from: site.web(program.side, .tcp),
                .error(from: site.router, to: site.web(program.side, .tcp).address))
    }

    /// New flows, into tables that are full.
    private func takeChurn(_ table: FlowCount) throws {
        guard let rig = churning[table] else { return }
        for family in settings.families {
            let frame = floorFrame(family)
            for floor in [Floor.lruInsert, .denseInsert] where floor.has(family) {
                let next = rig.nextInsert[floor]?[family] ?? 0
                let key = Self.key("new-flow", "floor \(floor.rawValue)", family, table)
                try take(floor, key, rig, frame, .endless(from: next), table)
                rig.nextInsert[floor]?[family] = next + UInt64(runs)
            }
            for program in Self.ingress {
                try takeNew(
                    Self.key("new-flow", program.name, family, table), rig, program,
                    FlowSet(side: program.side, family: family), table)
            }
            for other in settings.others { try takeNew(other, rig, family, table) }
            // The node has 32,768 ports for flows to each of the 64 backends, and most are to be free.
            guard table.count <= Self.mostOfOthers else { continue }
            for program in Self.external {
                try takeNew(
                    Self.key("new-flow-masqueraded", program.name, family, table), rig, program,
                    FlowSet(side: .external, family: family, kind: .masqueraded), table)
            }
        }
    }

    /// Packets spread over many Services.
    private func takeCrowded(_ program: DatapathProgram, _ family: IPFamily, _ services: Int) throws {
        guard let (open, full) = crowded[services] else { return }
        let flows = crowdedFlows
        let table = room(flows)
        let set = FlowSet(side: program.side, family: family, kind: .many(services))
        func key(_ quantity: String, _ flows: FlowCount) -> Measurement.Key {
            Self.key(quantity, program.name, family, flows, services: services)
        }
        try takeKnown(
            key("established", flows), first: key("established-first", flows), open, program, set, set.data, flows,
            expecting: Expectation(counters: [.forwardEstablished]))
        try takeNew(key("new-flow", table), full, program, set, table)
        let site = BenchSite(family: family)
        let stray = Frame(from: site.clients(program.side, .tcp), to: site.stranger, .data)
        try take(
            key("not-a-service", flows), open, program, stray, flows,
            expecting: Expectation(counters: [.passNotService]))
    }

    // MARK: Programs of others

    /// The same packets that ours get from outside: to `web`'s NodePort, and to nobody.
    private func take(_ other: PinnedProgram, _ rig: Rig, _ family: IPFamily, _ flows: FlowCount) throws {
        let set = FlowSet(side: .external, family: family)
        let site = BenchSite(family: family)
        let stray = Frame(from: site.clients(.external, .tcp), to: site.stranger, .data)
        let established = Self.key("established", other.name, family, flows)
        let notService = Self.key("not-a-service", other.name, family, flows)
        guard let target = try open(other, rig, [established, notService]) else { return }
        // Whatever it keeps of a flow, it has seen its SYN and a packet before.
        let walked = min(flows.count, runs)
        let before = opened.insert(established).inserted ? [set.opening, set.data] : [set.data]
        for frame in before {
            _ = try rig.programs.run(target.program, on: target.hook, frame, .scattered(flows), runs: walked)
        }
        try take(
            target, established, rig, set.data, .scattered(flows), flows,
            reference: Self.reference(new: false, family, flows))
        try take(target, notService, rig, stray, .scattered(flows), flows, reference: nil)
    }

    /// SYNs of tuples that it has never seen.
    private func takeNew(_ other: PinnedProgram, _ rig: Rig, _ family: IPFamily, _ table: FlowCount) throws {
        let frame = FlowSet(side: .external, family: family).opening
        let key = Self.key("new-flow", other.name, family, table)
        guard let target = try open(other, rig, [key]) else { return }
        let next = nextNewOfOthers[other.name] ?? 0
        try take(
            target, key, rig, frame, .endless(from: next), table, reference: Self.reference(new: true, family, table))
        nextNewOfOthers[other.name] = next + UInt64(runs)
    }

    /// `nil` when it cannot be run; the measurements are skipped then.
    private func open(_ other: PinnedProgram, _ rig: Rig, _ keys: [Measurement.Key]) throws -> PinnedTarget? {
        do {
            return try PinnedTarget(other, rig.programs)
        } catch {
            guard case BenchmarkError.unusableSetting(let reason) = error else { throw error }
            for key in keys { skip(key, reason) }
            return nil
        }
    }
}
