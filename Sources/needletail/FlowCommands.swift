internal import ArgumentParser
internal import Dataplane
internal import Inspection

struct FlowCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flow", abstract: "Show or end flows: the connections that are being translated.",
        subcommands: [List.self, Flush.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List flows, from client by frontend to backend.",
            discussion: """
                A flow has two entries, one for each direction, which are shown as one; NOTE says when one of them \
                is missing (the kernel evicts old entries one by one, and the next packet restores it). Sorted by \
                frontend and client, unless there are more than \(Inspector.largestSort).

                EXAMPLES
                  needletail flow list --service shop/web:http --state opening
                  needletail flow list --address 192.0.2.7 -o wide
                  needletail flow list --backend 198.18.1.4:8080 --limit 20
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var selection: FlowOptions

        @Option(help: "Show at most this many.")
        var limit: Int?

        func validate() throws {
            if let limit, limit < 1 { throw ValidationError("--limit must be 1 or more") }
        }

        func run() throws {
            try reportingFailures {
                let summary = try global.inspector().flows(selection.filter, limit: limit, to: writer())
                if !summary.isSorted { note("more than \(Inspector.largestSort) flows: not sorted") }
                if let limit, summary.matched > summary.shown { note("more flows match than --limit \(limit)") }
            }
        }

        private func writer() -> FlowWriter {
            switch global.answers.output {
            case .table: FlowWriter(.normal, write: writeAnswer)
            case .wide: FlowWriter(.wide, write: writeAnswer)
            case .json: FlowWriter(JSONDocument(), write: writeAnswer)
            case .yaml: FlowWriter(YAMLDocument(), write: writeAnswer)
            }
        }
    }

    struct Flush: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End flows: both directions are forgotten, and the next packet is balanced anew.",
            discussion: """
                A TCP connection goes on if its next packet comes from the client and its backend is still the one \
                of its Maglev slot; otherwise it ends.

                EXAMPLES
                  needletail flow flush --backend 198.18.1.4 --dry-run
                  needletail flow flush --service kube-system/kube-dns --protocol udp
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var selection: FlowOptions

        @Flag(help: "All flows of the node.")
        var all = false

        @Flag(help: "Only say how many there are.")
        var dryRun = false

        func validate() throws {
            guard selection.filter.isEmpty == all else {
                throw ValidationError(
                    all ? "--all is for all flows: leave the filter out" : "say which flows by a filter, or --all")
            }
        }

        func run() throws { try global.answer { try $0.flush(selection.filter, dryRun: dryRun) } }
    }
}

/// Which flows.
struct FlowOptions: ParsableArguments {
    @OptionGroup var serviceName: ServiceNameOptions
    @OptionGroup var transport: TransportOptions

    @Option(
        help: "Only of this Service: NAMESPACE/NAME[:PORT][/PROTOCOL].", transform: { try ServiceSelector($0) })
    var service: ServiceSelector?

    @Option(
        help: "Only where client, frontend or backend is this: ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT.",
        transform: { try EndpointFilter($0) })
    var address: EndpointFilter?

    @Option(
        help: "Only to this backend: an id, ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT.",
        transform: { try BackendFilterTarget($0) })
    var backend: BackendFilterTarget?

    @Option(
        help: "Only in this state: opening, established, closing or closed.",
        completion: .list(FlowEntry.State.allCases.map(\.rawValue)), transform: { try FlowEntry.State(filter: $0) })
    var state: FlowEntry.State?

    var filter: FlowFilter {
        var filter = FlowFilter()
        filter.namespace = serviceName.namespace
        filter.name = serviceName.name
        filter.service = service
        filter.address = address
        filter.backend = backend
        filter.transport = transport.transport
        filter.state = state
        return filter
    }
}
