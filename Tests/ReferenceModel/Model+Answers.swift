internal import NeedletailABI
internal import NetTypes
internal import PacketKit

extension Model {
    /// The way out of the node for a packet that is sent on, after the checks that come first.
    func path(
        _ packet: inout Packet, to destination: IPAddress, isEncapsulated: Bool = false
    ) -> Result<Path, Ended> {
        guard case .out(let device, let neighbour, let linkMTU) = node.route(to: destination) else {
            return .failure(Ended(expectation: packet.drops(.dropNoRoute)))
        }
        let flags = node.devices[device]?.flags ?? 0
        if packet.isXDP, neighbour == nil || flags & NT_DEVICE_XDP == 0 || packet.isTagged {
            return .failure(Ended(expectation: packet.passes(.passToTC)))
        }
        // Nothing is known of a next hop behind a tag that is in the frame's own bytes.
        if packet.isTagged {
            var dropped = packet.drops(.dropRewrite)
            // Of an error that would be sent on, the programs count that too.
            if case .icmp = packet.frame.kind {
                dropped.otherCounters.append([.icmpTranslated: 1, .dropRewrite: 1])
            }
            return .failure(Ended(expectation: dropped))
        }
        let ip = packet.frame.ip
        let mtu = linkMTU - (isEncapsulated ? ip.family == .v4 ? 20 : 40 : 0)
        if ip.hopLimit <= 1 {
            let type: UInt8 = ip.family == .v4 ? 11 : 3
            return .failure(
                Ended(
                    expectation: error(
                        &packet, because: .dropHopLimit, .answerTimeExceeded, type: type, code: 0, rest: 0,
                        from: ownAddress(packet))))
        }
        if packet.frame.length > mtu {
            guard canAnswer(packet) else { return .failure(Ended(expectation: packet.passes(.passToTC))) }
            guard ip.family == .v6 || ip.doNotFragment else {
                return .failure(Ended(expectation: packet.drops(.dropTooBig)))
            }
            return .failure(
                Ended(
                    expectation: error(
                        &packet, because: .dropTooBig, .answerTooBig, type: ip.family == .v4 ? 3 : 2,
                        code: ip.family == .v4 ? 4 : 0, rest: UInt32(mtu), from: ownAddress(packet))))
        }
        return .success(Path(device: device, neighbour: neighbour))
    }

    /// The node's address on the device the packet came by.
    private func ownAddress(_ packet: Packet) -> IPAddress {
        let family = packet.frame.ip.family
        return node.devices[packet.device]?.addresses[family] ?? node.addresses[family] ?? packet.frame.ip.destination
    }

    /// A reset, or port unreachable, from whom the packet was for.
    func refused(_ packet: inout Packet, _ reason: DatapathCounter) -> Expectation {
        let frame = packet.frame
        guard packet.tuple.source.transport == .tcp else {
            let isV4 = frame.ip.family == .v4
            return error(
                &packet, because: reason, .answerUnreachable, type: isV4 ? 3 : 1, code: isV4 ? 3 : 4, rest: 0,
                from: frame.ip.destination)
        }
        guard canAnswer(packet) else { return packet.passes(.passToTC) }
        guard !packet.flags.rst, !frame.ip.isLaterFragment else { return packet.drops(reason) }
        let sequence = frame.bytes.be32(frame.ip.payload + 4)
        let header = Int(frame.bytes[frame.ip.payload + 12] >> 4) * 4
        let sent = frame.ip.end - frame.ip.payload - header + (packet.flags.syn ? 1 : 0) + (packet.flags.fin ? 1 : 0)
        return answer(
            &packet, because: reason, .answerReset, from: frame.ip.destination,
            .reset(
                from: packet.tuple.destination.port, to: packet.tuple.source.port,
                sequence: packet.flags.ack ? frame.bytes.be32(frame.ip.payload + 8) : 0,
                acknowledgment: packet.flags.ack ? nil : sequence &+ UInt32(truncatingIfNeeded: sent)))
    }

    private func error(
        _ packet: inout Packet, because reason: DatapathCounter, _ counter: DatapathCounter, type: UInt8, code: UInt8,
        rest: UInt32, from source: IPAddress
    ) -> Expectation {
        let frame = packet.frame
        // Of the messages, only errors get here; there are no errors about errors.
        if case .icmp = frame.kind { return packet.drops(reason) }
        let quote = Array(frame.bytes[frame.ip.start..<frame.ip.end].prefix(512))
        return answer(
            &packet, because: reason, counter, from: source, .error(type: type, code: code, rest: rest, quote: quote))
    }

    private func answer(
        _ packet: inout Packet, because reason: DatapathCounter, _ counter: DatapathCounter, from source: IPAddress,
        _ content: ModelReply.Content
    ) -> Expectation {
        let ip = packet.frame.ip
        guard canAnswer(packet) else { return packet.passes(.passToTC) }
        guard !ip.isLaterFragment, Self.mayBeAnswered(ip.source) else { return packet.drops(reason) }
        packet.count(reason)
        packet.count(counter)
        let bytes = packet.frame.bytes
        let link = Array(bytes[6..<12] + bytes[0..<6] + bytes[12..<ip.start])
        return Expectation(
            verdict: .sentBack,
            output: .reply(ModelReply(link: link, source: source, destination: ip.source, content: content)),
            counters: packet.counters)
    }

    /// Whether the program may send out of the device the packet came by.
    private func canAnswer(_ packet: Packet) -> Bool {
        !packet.isXDP || (node.devices[packet.device]?.flags ?? 0) & NT_DEVICE_XDP != 0
    }

    private static func mayBeAnswered(_ source: IPAddress) -> Bool {
        !source.isUnspecified && !source.isLoopback && !source.isMulticast
            && !(source.family == .v4 && source.bits == 0xFFFF_FFFF)
    }

    // MARK: ICMP

    mutating func icmp(_ packet: inout Packet) -> Expectation {
        let ip = packet.frame.ip
        guard ip.identification == nil else { return packet.passes(.passFragment, or: .passOtherProtocol) }
        let type = packet.frame.bytes[ip.payload]
        let isError = ip.family == .v4 ? [3, 11, 12].contains(type) : (1...4).contains(type)
        if isError { return icmpError(&packet) }
        if packet.isIngress, type == (ip.family == .v4 ? 8 : 128),
            (addresses[ip.destination] ?? 0) & NT_ADDRESS_ENDPOINTS != 0, Self.mayBeAnswered(ip.source)
        {
            guard canAnswer(packet) else { return packet.passes(.passToTC) }
            packet.count(.answerEcho)
            return Expectation(verdict: .sentBack, output: .bytes(echoReply(packet)), counters: packet.counters)
        }
        return packet.passes(.passOtherProtocol, or: .passNotService)
    }

    /// The same message, the other way.
    private func echoReply(_ packet: Packet) -> [UInt8] {
        let ip = packet.frame.ip
        var bytes = packet.frame.bytes
        bytes.put(Array(bytes[6..<12] + bytes[0..<6]), 0)
        let isV4 = ip.family == .v4
        Rewrite.changeHeader(&bytes, ip) {
            $0[ip.start + (isV4 ? 8 : 7)] = 64
            $0.put(ip.destination.bytes + ip.source.bytes, ip.start + (isV4 ? 12 : 8))
        }
        let before = Rewrite.words(bytes[ip.payload..<ip.end])
        bytes[ip.payload] = isV4 ? 0 : 129
        bytes.put16(
            Rewrite.moved(
                bytes.be16(ip.payload + 2), from: before, to: Rewrite.words(bytes[ip.payload..<ip.end])),
            ip.payload + 2)
        return bytes
    }

    private mutating func icmpError(_ packet: inout Packet) -> Expectation {
        let outer = packet.frame.ip
        let bytes = Array(packet.frame.bytes[..<outer.end])
        let quoted: ParsedIP
        do throws(ParsedIP.Obstacle) {
            quoted = try ParsedIP(bytes, at: outer.payload + 8, outer.family, whole: false)
        } catch {
            return packet.passes(.passMalformed, or: .passNotService, .passExtensionHeaders)
        }
        let transport: TransportProtocol
        switch quoted.number {
        case ProtocolNumber.tcp: transport = .tcp
        case ProtocolNumber.udp: transport = .udp
        default: return packet.passes(.passNotService, or: .passOtherProtocol, .passMalformed)
        }
        guard !quoted.isLaterFragment else { return packet.passes(.passNotService, or: .passFragment, .passMalformed) }
        guard min(bytes.count, quoted.end) >= quoted.payload + 8 else {
            return packet.passes(.passMalformed, or: .passNotService)
        }
        let tuple = Tuple(
            TransportEndpoint(quoted.source, bytes.be16(quoted.payload), transport),
            TransportEndpoint(quoted.destination, bytes.be16(quoted.payload + 2), transport))

        if let flow = flows[FlowKey(tuple: tuple.reversed, direction: .reverse)],
            flow.isMasqueraded == packet.isIngress
        {
            let asSent = flow.rewritten.reversed
            return errorTranslated(
                &packet, quoted, transport, as: asSent, from: asSent.destination.address, to: asSent.source.address,
                isSentOn: packet.isIngress)
        }
        if packet.isIngress, let flow = flows[FlowKey(tuple: tuple.reversed, direction: .forward)], flow.backend != 0 {
            let asSent = flow.rewritten.reversed
            return errorTranslated(
                &packet, quoted, transport, as: asSent,
                from: flow.isMasqueraded ? flow.rewritten.source.address : outer.source,
                to: flow.rewritten.destination.address, isSentOn: flow.isMasqueraded)
        }
        return packet.passes(.passNotService)
    }

    private mutating func errorTranslated(
        _ packet: inout Packet, _ quoted: ParsedIP, _ transport: TransportProtocol, as tuple: Tuple,
        from source: IPAddress, to destination: IPAddress, isSentOn: Bool
    ) -> Expectation {
        var path: Path?
        if isSentOn {
            switch self.path(&packet, to: destination) {
            case .failure(let outcome): return outcome.expectation
            case .success(let found): path = found
            }
        }
        packet.count(.icmpTranslated)
        let outer = packet.frame.ip
        var bytes = packet.frame.bytes
        func covered(_ bytes: [UInt8]) -> UInt64 {
            let addresses = outer.family == .v4 ? 0..<0 : outer.start + 8..<outer.start + 40
            return Rewrite.words(bytes[addresses]) + Rewrite.words(bytes[outer.payload..<outer.end])
        }
        let before = covered(bytes)
        Rewrite.translate(&bytes, quoted, transport, to: tuple, limit: outer.end)
        Rewrite.setAddresses(&bytes, outer, source, destination)
        bytes.put16(
            Rewrite.moved(bytes.be16(outer.payload + 2), from: before, to: covered(bytes)), outer.payload + 2)
        return packet.leaves(bytes, path, node)
    }
}
