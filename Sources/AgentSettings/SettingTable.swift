internal import Agent
internal import Dataplane
internal import KubernetesAPI
internal import Logging
internal import Netlink
internal import Resolver

// What the node is, and where objects come from.
extension Setting {
    package static let nodeName = Setting(
        "nodeName", "node-name", .nodeName, \.nodeName,
        "This node's name, as endpoints have it in nodeName; the host's name unless said.")
    package static let nodeAddress = Setting(
        "nodeAddress", "bind-address", .nodeAddress, \.agent.nodeAddress,
        "This node's address, in place of the Node object's; 0.0.0.0 and :: are none.")
    package static let manifests = Setting(
        "manifests", "manifests", .text("directory"), \.manifests,
        "Follow this directory of *.yaml, *.yml and *.json manifests.")
    package static let kubeconfig = Setting(
        "cluster.kubeconfig", "kubeconfig", .text("file"), \.cluster.kubeconfig,
        "Follow the API server of this kubeconfig; in a pod, its service account does without.")
    package static let context = Setting(
        "cluster.context", "context", .text("name"), \.cluster.context,
        "The context of the kubeconfig, in place of its current-context.")
    package static let server = Setting(
        "cluster.server", "master", .server, \.cluster.server,
        "The API server's URL, in place of the kubeconfig's or the service account's.")
    package static let contentType = Setting(
        "cluster.contentType", "kube-api-content-type", .contentType, \.cluster.contentType,
        "How objects come from the API server: protobuf or json.")
    package static let requestsPerSecond = Setting(
        "cluster.requestsPerSecond", "kube-api-qps", .rate, \.cluster.requestsPerSecond,
        "Requests to the API server in a second.")
    package static let burst = Setting(
        "cluster.burst", "kube-api-burst", .number(1...100_000, "number"), \.cluster.burst,
        "Requests to the API server at once.")
}

// Devices and sockets.
extension Setting {
    package static let externalDevices = Setting(
        "devices.external", "external-devices", .interfaces, \.agent.externalDevices,
        "Devices that lead out of the node: names and patterns (* and ?), comma separated, ! excludes.")
    package static let workloadDevices = Setting(
        "devices.workload", "workload-devices", .workload, \.workloadDevices,
        "Host ends of workloads' veth pairs; new ones are attached to as they appear.")
    package static let xdp = Setting(
        "devices.xdp", "xdp", .word, \.agent.attachment.xdp,
        "XDP on external devices: auto (native, else generic), native, generic or off.")
    package static let xdpForward = Setting(
        "devices.xdpForward", "xdp-forward", .word, \.agent.attachment.forwarding,
        "Sending packets on from XDP: auto (native XDP, and no veth), always, or never, which leaves it to tc.")
    package static let tc = Setting(
        "devices.tc", "tc", .word, \.agent.attachment.tc,
        "How tc programs are attached: auto (TCX, else clsact), tcx or clsact.")
    package static let localMode = Setting(
        "localDetection.mode", "detect-local-mode", .word, \.localMode,
        """
        Who counts as a pod: those in the ClusterCIDR, in the node's NodeCIDR, behind a BridgeInterface, or an \
        InterfaceNamePrefix; beside those behind workload devices.
        """)
    package static let clusterCIDR = Setting(
        "localDetection.clusterCIDR", "cluster-cidr", .podPrefixes, \.clusterCIDR,
        "Pods' prefixes, one of each family at most.")
    package static let bridgeInterface = Setting(
        "localDetection.bridgeInterface", "pod-bridge-interface", .text("name"), \.bridgeInterface,
        "The bridge that pods are behind, with --detect-local-mode BridgeInterface.")
    package static let interfaceNamePrefix = Setting(
        "localDetection.interfaceNamePrefix", "pod-interface-name-prefix", .text("prefix"),
        \.interfaceNamePrefix, "What pods' devices begin with, with --detect-local-mode InterfaceNamePrefix.")
    package static let sockets = Setting(
        "sockets.mode", "sockets", .word, \.agent.datapath.sockets,
        """
        Whose sockets are led to backends when they connect or send: host (processes of the node, which nothing else \
        serves), all (pods too, without work for each packet), or off.
        """)
    package static let cgroup = Setting(
        "sockets.cgroup", "cgroup", .absolutePath, \.agent.cgroup,
        "Attach the socket hooks to this cgroup; the root of the cgroup v2 hierarchy unless said.")
    package static let protectsNodePorts = Setting(
        "sockets.protectNodePorts", "protect-nodeports", .boolean, \.agent.datapath.protectsNodePorts,
        "Keep processes of the node from binding NodePorts: bind fails with EADDRINUSE.")
}

// What Services do not say by themselves.
extension Setting {
    package static let serviceProxyName = Setting(
        "services.proxyName", "service-proxy-name", .label, \.agent.resolver.serviceProxyName,
        """
        Serve only Services whose label service.kubernetes.io/service-proxy-name is this; unless said, those without \
        the label.
        """)
    package static let masquerade = Setting(
        "services.masquerade", "masquerade", .word, \.agent.resolver.masquerade,
        """
        Rewrite the source of traffic: minimal (where replies would not come back through this node), kube-proxy (as it \
        does), or all (as its masqueradeAll).
        """)
    package static let forwarding = Setting(
        "services.forwarding", "forwarding", .word, \.agent.resolver.forwarding,
        """
        How outside traffic reaches backends on other nodes: snat, or dsr (encapsulated; their node answers the \
        client). A Service's annotation needletail.io/forwarding goes before it.
        """)
    package static let nodePortAddresses = Setting(
        "services.nodePortAddresses", "nodeport-addresses", .nodePortAddresses, \.agent.nodePortAddresses,
        """
        Serve NodePorts on the node's primary address of each family, on all of external devices (external), or on those \
        in these prefixes.
        """)
    package static let localhostNodePorts = Setting(
        "services.localhostNodePorts", "localhost-nodeports", .boolean, \.agent.resolver.servesLocalhostNodePorts,
        "Serve NodePorts on 127.0.0.1 and ::1 too, for sockets of the node itself (see --sockets).")
    package static let externalIPs = Setting(
        "services.externalIPs", "external-ips", .boolean, \.agent.resolver.servesExternalIPs,
        "Serve the externalIPs of Services (CVE-2020-8554 tells why not).")
    package static let serviceCIDRs = Setting(
        "services.cidrs", "service-cidrs", .servicePrefixes, \.agent.serviceCIDRs,
        "Prefixes ClusterIPs are taken from: other addresses in them are refused. Four of each family at most.")
}

// How much fits, and how fast it may come.
extension Setting {
    package static let maxFrontends = Setting(
        "limits.frontends", "max-frontends", .entries, \.agent.datapath.maxFrontends, "Frontends of each family.")
    package static let maxSets = Setting(
        "limits.sets", "max-sets", .entries, \.agent.datapath.maxSets, "Distinct backend sets.")
    package static let maxSlots = Setting(
        "limits.slots", "max-slots", .entries, \.agent.datapath.maxSlots,
        "Maglev slots, 4 bytes each; a set of N backends takes at least 100 N and 251.")
    package static let maxBackends = Setting(
        "limits.backends", "max-backends", .entries, \.agent.datapath.maxBackends, "Backends.")
    package static let maxServices = Setting(
        "limits.services", "max-services", .entries, \.agent.datapath.maxServices,
        "Service ports; statistics take 72 bytes for each and possible CPU.")
    package static let maxTCPFlows = Setting(
        "limits.tcpFlows", "max-tcp-flows", .tableSize, \.agent.datapath.maxTCPFlows,
        "TCP connections of each family; the least recently used give way. auto: by the memory, 65536 or more.")
    package static let maxUDPFlows = Setting(
        "limits.udpFlows", "max-udp-flows", .tableSize, \.agent.datapath.maxUDPFlows,
        "UDP flows of each family. auto: a quarter of what TCP would have.")
    package static let maxAffinity = Setting(
        "limits.affinity", "max-affinity", .entries, \.agent.datapath.maxAffinity,
        "Clients that stay with their backend by sessionAffinity.")
    package static let maxSourceRanges = Setting(
        "limits.sourceRanges", "max-source-ranges", .entries, \.agent.datapath.maxSourceRanges,
        "Prefixes of each family in loadBalancerSourceRanges.")
    package static let natPorts = Setting(
        "limits.natPorts", "nat-ports", .ports, \.agent.datapath.natPorts,
        "Source ports for masqueraded connections; choose what the node itself does not use.")
    package static let newFlowLimit = Setting(
        "limits.newFlows", "new-flow-limit", .number(0...1_000_000_000, "flows"), \.agent.datapath.newFlowLimit,
        "New flows a CPU may store in a second; what is above goes without an entry. 0: no limit.")
    package static let answerLimit = Setting(
        "limits.answers", "answer-limit", .number(0...1_000_000_000, "messages"), \.agent.datapath.answerLimit,
        "Resets and ICMP messages that one source is sent in a second. 0: none.")
}

// How long things are kept, and how often they are done.
extension Setting {
    package static let tcpOpening = Setting(
        "timeouts.tcpOpening", "tcp-opening", .seconds, \.agent.datapath.timeouts.tcpOpening,
        "For TCP before the backend has answered.")
    package static let tcpEstablished = Setting(
        "timeouts.tcpEstablished", "tcp-established", .seconds, \.agent.datapath.timeouts.tcpEstablished,
        "For established TCP.")
    package static let tcpClosing = Setting(
        "timeouts.tcpClosing", "tcp-closing", .seconds, \.agent.datapath.timeouts.tcpClosing,
        "For TCP closed by one side.")
    package static let tcpClosed = Setting(
        "timeouts.tcpClosed", "tcp-closed", .seconds, \.agent.datapath.timeouts.tcpClosed,
        "For closed or reset TCP.")
    package static let udpOpening = Setting(
        "timeouts.udpOpening", "udp-opening", .seconds, \.agent.datapath.timeouts.udpOpening,
        "For UDP before the backend has answered.")
    package static let udpEstablished = Setting(
        "timeouts.udpEstablished", "udp-established", .seconds, \.agent.datapath.timeouts.udpEstablished,
        "For answered UDP.")
    package static let collectInterval = Setting(
        "intervals.collect", "collect-interval", .seconds, \.agent.collectInterval,
        "Between two looks through the flow table.")
    package static let auditInterval = Setting(
        "intervals.audit", "audit-interval", .duration(.seconds(1)), \.agent.auditInterval,
        "Between two comparisons of the maps with what they ought to hold.")
    package static let syncPeriod = Setting(
        "intervals.sync", "sync-period", .duration(.seconds(1)), \.agent.syncPeriod,
        "A change that has waited for twice this time makes the node unhealthy.")
    package static let minSyncPeriod = Setting(
        "intervals.minSync", "min-sync-period", .duration(.zero), \.agent.minSyncPeriod,
        "The least time between two syncs; changes that come meanwhile are made together.")
}

// What others see of the agent.
extension Setting {
    package static let healthAddress = Setting(
        "health.bindAddress", "healthz-bind-address", .listener, \.agent.healthBindAddress,
        "Tell health here; no address means all, an empty value nowhere.")
    package static let metricsAddress = Setting(
        "metrics.bindAddress", "metrics-bind-address", .listener, \.agent.metricsBindAddress,
        "Tell metrics here, likewise.")
    package static let maxServiceSeries = Setting(
        "metrics.maxServices", "max-service-series", .number(0...1_000_000, "number"), \.agent.maxServiceSeries,
        "Service ports that have metrics of their own; the others share one series.")
    package static let bindAddressHardFail = Setting(
        "bindAddressHardFail", "bind-address-hard-fail", .boolean, \.agent.bindAddressHardFail,
        "End when health or metrics cannot be told at their addresses, instead of trying again.")
    package static let logLevel = Setting(
        "logLevel", "log-level", .word, \.logLevel,
        "Log from this level on: trace, debug, info, notice, warning, error or critical.")
    package static let kubeProxyPolicy = Setting(
        "kubeProxy", "on-kube-proxy", .word, \.agent.kubeProxyPolicy,
        "When kube-proxy, or its rules, are on the node: warn, refuse (to start) or ignore.")
    package static let pinDirectory = Setting(
        "pinDirectory", "pin-directory", .pinDirectory, \.agent.pins,
        "Pin maps and links here; a bpf file system is mounted if there is none.")
    package static let oomScoreAdjust = Setting(
        "oomScoreAdjust", "oom-score-adj", .number(-1000...1000, "score"), absent: "auto", \.oomScoreAdjust,
        "The kernel's inclination to end the agent when memory runs out. auto: -999 with an API server, else unchanged."
    )

    /// All settings, in the order of documentation and written files.
    package static let all: [Setting] = [
        nodeName, nodeAddress, manifests, kubeconfig, context, server, contentType, requestsPerSecond, burst,
        externalDevices, workloadDevices, xdp, xdpForward, tc, localMode, clusterCIDR, bridgeInterface,
        interfaceNamePrefix, sockets, cgroup, protectsNodePorts,
        serviceProxyName, masquerade, forwarding, nodePortAddresses, localhostNodePorts, externalIPs, serviceCIDRs,
        maxFrontends, maxSets, maxSlots, maxBackends, maxServices, maxTCPFlows, maxUDPFlows, maxAffinity,
        maxSourceRanges, natPorts, newFlowLimit, answerLimit,
        tcpOpening, tcpEstablished, tcpClosing, tcpClosed, udpOpening, udpEstablished,
        collectInterval, auditInterval, syncPeriod, minSyncPeriod,
        healthAddress, metricsAddress, maxServiceSeries, bindAddressHardFail, logLevel, kubeProxyPolicy, pinDirectory,
        oomScoreAdjust,
    ]
}
