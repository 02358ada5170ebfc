internal import ArgumentParser
internal import Inspection

struct ServiceCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service", abstract: "Show Services: their frontends and backends.",
        subcommands: [List.self, Show.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List frontends: the addresses that are balanced.",
            discussion: """
                EXTERNAL and INTERNAL are what new connections from outside the node and from its workloads meet: a \
                number of backends, or the reason why they are refused. `needletail service show` explains both.

                EXAMPLES
                  needletail service list
                  needletail service list -n shop --kind NodePort
                  needletail service list --address 198.18.0.0/16 --port 443
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var service: ServiceNameOptions
        @OptionGroup var transport: TransportOptions

        @Option(
            help: "Only frontends on this address, or in this prefix: ADDRESS, ADDRESS/LENGTH, ADDRESS:PORT.",
            transform: { try EndpointFilter($0) })
        var address: EndpointFilter?

        @Option(help: "Only frontends on this port.")
        var port: UInt16?

        @Option(
            help: "Only this kind: ClusterIP, NodePort, LoadBalancer or ExternalIP.",
            completion: .list(["ClusterIP", "NodePort", "LoadBalancer", "ExternalIP"]),
            transform: { try FrontendKindName($0) })
        var kind: FrontendKindName?

        func validate() throws {
            if port == 0 { throw ValidationError("--port must be 1 or more") }
        }

        func run() throws {
            var filter = ServiceFilter()
            filter.namespace = service.namespace
            filter.name = service.name
            filter.address = address
            filter.transport = transport.transport
            filter.port = port
            filter.kind = kind
            try global.answer { try $0.services(filter) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a Service: what new connections to each frontend meet, and the backends with their flows.",
            discussion: """
                EXAMPLES
                  needletail service show shop/web
                  needletail service show shop/web:http
                  needletail service show kube-system/kube-dns:53/udp -o yaml
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(
            help: "NAMESPACE/NAME[:PORT][/PROTOCOL]; PORT is a name or a number.",
            transform: { try ServiceSelector($0) })
        var service: ServiceSelector

        func run() throws { try global.answer { try $0.service(service) } }
    }
}

struct BackendCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backend", abstract: "Show backends.", subcommands: [List.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List backends, their state, and the Services that use them.",
            discussion: """
                SLOTS and SHARE are a backend's part of the Maglev tables it is in, which is its part of new \
                connections.

                EXAMPLES
                  needletail backend list --state terminating
                  needletail backend list -n shop --name web
                  needletail backend list --backend 198.18.1.0/24
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var service: ServiceNameOptions
        @OptionGroup var transport: TransportOptions

        @Option(
            help: "Only this backend: an id, ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT.",
            transform: { try BackendFilterTarget($0) })
        var backend: BackendFilterTarget?

        @Option(
            help: "Only in this state: active, terminating or gone.",
            completion: .list(["active", "terminating", "gone"]), transform: { try BackendStateName($0) })
        var state: BackendStateName?

        @Flag(inversion: .prefixedNo, help: "Only backends on this node, or only those on others.")
        var local: Bool?

        func run() throws {
            var filter = BackendFilter()
            filter.namespace = service.namespace
            filter.name = service.name
            filter.backend = backend
            filter.transport = transport.transport
            filter.state = state
            filter.isLocal = local
            try global.answer { try $0.backends(filter) }
        }
    }
}

struct MaglevCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maglev", abstract: "Show Maglev tables.", subcommands: [Show.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the Maglev tables of a Service port, and check them.",
            discussion: """
                The table in the map is compared, slot for slot, with the one its backends should have. All nodes \
                that see the same endpoints have the same table.

                EXAMPLES
                  needletail maglev show shop/web:http
                  needletail maglev show kube-system/kube-dns:dns/udp --slots
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(
            help: "NAMESPACE/NAME[:PORT][/PROTOCOL]; PORT is a name or a number.",
            transform: { try ServiceSelector($0) })
        var service: ServiceSelector

        @Flag(help: "Show all slots, as runs of the same backend.")
        var slots = false

        func run() throws { try global.answer { try $0.maglev(service, slots: slots) } }
    }
}
