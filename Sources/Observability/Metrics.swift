/// All metrics there are. `docs/metrics.md` explains them; a test compares the two.
public enum Metrics {
    /// Every metric of `/metrics` and `/metrics/slis`.
    public static let all: [MetricFamily] = kubeProxy + own + [healthCheck, healthChecks] + process

    // MARK: kube-proxy's

    static let kubeProxy = [
        syncDuration, fullSyncDuration, partialSyncDuration, lastSync, lastQueued, networkProgramming,
        endpointChangesPending, endpointChanges, serviceChangesPending, serviceChanges, noLocalEndpoints, healthz,
        livez,
        udpCleanupDuration, udpCleanupDeleted, restRequests, restDuration,
    ]

    static let syncDuration = MetricFamily(
        "kubeproxy_sync_proxy_rules_duration_seconds", .histogram, ["ip_family"],
        "From the begin of a sync until the maps hold what is wanted.")
    static let fullSyncDuration = MetricFamily(
        "kubeproxy_sync_full_proxy_rules_duration_seconds", .histogram, ["ip_family"],
        "The same, of syncs that compared everything: at the start and after a failure.")
    static let partialSyncDuration = MetricFamily(
        "kubeproxy_sync_partial_proxy_rules_duration_seconds", .histogram, ["ip_family"],
        "The same, of syncs of what had changed.")
    static let lastSync = MetricFamily(
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds", .gauge, ["ip_family"],
        "When a sync last succeeded, in seconds since 1970.")
    static let lastQueued = MetricFamily(
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", .gauge, ["ip_family"],
        "When something last changed that must be programmed, in seconds since 1970.")
    static let networkProgramming = MetricFamily(
        "kubeproxy_network_programming_duration_seconds", .histogram, ["ip_family"],
        "From the change of a pod or Service, as its EndpointSlice tells, until it is programmed.")
    static let endpointChangesPending = MetricFamily(
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending", .gauge, [],
        "Changed EndpointSlices that are not programmed yet.")
    static let endpointChanges = MetricFamily(
        "kubeproxy_sync_proxy_rules_endpoint_changes_total", .counter, [], "Changed EndpointSlices.")
    static let serviceChangesPending = MetricFamily(
        "kubeproxy_sync_proxy_rules_service_changes_pending", .gauge, [],
        "Changed Services that are not programmed yet.")
    static let serviceChanges = MetricFamily(
        "kubeproxy_sync_proxy_rules_service_changes_total", .counter, [], "Changed Services.")
    static let noLocalEndpoints = MetricFamily(
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total", .gauge, ["ip_family", "traffic_policy"],
        "Service ports that have endpoints, but drop traffic since their policy is Local and none is on this node.")
    static let healthz = MetricFamily(
        "kubeproxy_proxy_healthz_total", .counter, ["code"], "Answers of /healthz on the health port.")
    static let livez = MetricFamily(
        "kubeproxy_proxy_livez_total", .counter, ["code"], "Answers of /livez on the health port.")
    static let udpCleanupDuration = MetricFamily(
        "kubeproxy_conntrack_reconciler_sync_duration_seconds", .histogram, ["ip_family"],
        "Passes over the UDP flows for those that must not go on.")
    static let udpCleanupDeleted = MetricFamily(
        "kubeproxy_conntrack_reconciler_deleted_entries_total", .counter, ["ip_family"],
        "Entries of UDP flows that were ended since their endpoint was gone.")
    static let restRequests = MetricFamily(
        "rest_client_requests_total", .counter, ["code", "host", "method"],
        "Requests to the API server, by status code, or <error> where there was no answer.")
    static let restDuration = MetricFamily(
        "rest_client_request_duration_seconds", .histogram, ["host", "verb"],
        "From a request to the API server to the head of its answer.")

    // MARK: Needletail's

    static let own = [
        buildInfo, agentInfo, syncPhase, syncFailures, mapWrites, maglevBuild, collectorPass, collectorExpired,
        flowEntries, mapEntries, mapCapacity, mapMemory, packets, servicePackets, serviceBytes, serviceNewFlows,
        serviceRefused, trafficPackets, trafficBytes, trafficNewFlows, trafficRefused, servicePorts, watchAge,
        watchPhase,
        watchSynced, watchObjects, watchLists, watchStreams, watchEvents, watchStale, watchErrors, auditRuns,
        auditDifferences, auditDifferencesTotal, auditRepairs, auditLastRun, programmed, problems, attachedDevices,
        healthCheckSockets,
    ]

    static let buildInfo = MetricFamily("needletail_build_info", .gauge, ["arch", "version"], "Always 1.")
    static let agentInfo = MetricFamily("needletail_agent_info", .gauge, ["kernel", "node", "source"], "Always 1.")
    static let syncPhase = MetricFamily(
        "needletail_sync_phase_duration_seconds", .histogram, ["phase"],
        "The parts of a sync: resolve, plan, write.")
    static let syncFailures = MetricFamily(
        "needletail_sync_failures_total", .counter, [], "Syncs that failed and are tried again.")
    static let mapWrites = MetricFamily(
        "needletail_map_writes_total", .counter, [], "Writes to maps by syncs.")
    static let maglevBuild = MetricFamily(
        "needletail_maglev_build_duration_seconds", .histogram, [], "Computing the Maglev table of one backend set.")
    static let collectorPass = MetricFamily(
        "needletail_collector_pass_duration_seconds", .histogram, [], "Passes over the flow table for expired flows.")
    static let collectorExpired = MetricFamily(
        "needletail_collector_expired_entries_total", .counter, [],
        "Entries that were removed since nothing had come for too long.")
    static let flowEntries = MetricFamily(
        "needletail_flow_entries", .gauge, ["ip_family", "protocol", "state"],
        "Entries of the flow table at its last pass; a flow has two.")
    static let mapEntries = MetricFamily(
        "needletail_map_entries", .gauge, ["map", "unit"], "How much of a map is in use.")
    static let mapCapacity = MetricFamily(
        "needletail_map_capacity", .gauge, ["map", "unit"], "How much fits into a map.")
    static let mapMemory = MetricFamily(
        "needletail_map_memory_bytes", .gauge, ["map"], "The kernel's memory for a map.")
    static let packets = MetricFamily(
        "needletail_packets_total", .counter, ["counter", "outcome", "program"],
        "What became of packets, since the datapath was loaded; see needletail counters.")
    static let servicePackets = MetricFamily(
        "needletail_service_packets_total", .counter, ["direction", "namespace", "port", "protocol", "service"],
        "Packets of a service port.")
    static let serviceBytes = MetricFamily(
        "needletail_service_bytes_total", .counter, ["direction", "namespace", "port", "protocol", "service"],
        "Their bytes, from the IP header on.")
    static let serviceNewFlows = MetricFamily(
        "needletail_service_new_flows_total", .counter, ["namespace", "port", "protocol", "service"],
        "Flows begun to a service port.")
    static let serviceRefused = MetricFamily(
        "needletail_service_refused_packets_total", .counter, ["namespace", "port", "protocol", "reason", "service"],
        "Packets to a service port that were refused.")
    static let trafficPackets = MetricFamily(
        "needletail_traffic_packets_total", .counter, ["direction"],
        "Packets of all service ports, those that are gone among them, since the agent's first reading.")
    static let trafficBytes = MetricFamily(
        "needletail_traffic_bytes_total", .counter, ["direction"], "Their bytes, from the IP header on.")
    static let trafficNewFlows = MetricFamily(
        "needletail_traffic_new_flows_total", .counter, [], "Flows begun to all service ports, counted likewise.")
    static let trafficRefused = MetricFamily(
        "needletail_traffic_refused_packets_total", .counter, ["reason"],
        "Packets refused by all service ports, counted likewise.")
    static let servicePorts = MetricFamily(
        "needletail_service_ports", .gauge, ["series"],
        "Service ports with series of their own, and those that share port=\"_other\".")
    static let watchAge = MetricFamily(
        "needletail_watch_age_seconds", .gauge, ["kind"], "Since the API server was last heard of.")
    static let watchPhase = MetricFamily(
        "needletail_watch_phase", .gauge, ["kind", "phase"], "1 for what a watch is doing.")
    static let watchSynced = MetricFamily(
        "needletail_watch_synced", .gauge, ["kind"], "1 once all objects of a kind have been seen.")
    static let watchObjects = MetricFamily(
        "needletail_watch_objects", .gauge, ["kind"], "Objects known.")
    static let watchLists = MetricFamily(
        "needletail_watch_lists_total", .counter, ["kind"], "Times that all objects were listed.")
    static let watchStreams = MetricFamily(
        "needletail_watch_streams_total", .counter, ["kind"], "Watches begun.")
    static let watchEvents = MetricFamily(
        "needletail_watch_events_total", .counter, ["kind", "type"], "Events received.")
    static let watchStale = MetricFamily(
        "needletail_watch_stale_events_total", .counter, ["kind"],
        "Events passed over since they were older than what was known.")
    static let watchErrors = MetricFamily(
        "needletail_watch_errors_total", .counter, ["kind", "reason"], "Lists and watches that failed.")
    static let auditRuns = MetricFamily(
        "needletail_audit_runs_total", .counter, [], "Comparisons of the maps with what they should hold.")
    static let auditDifferences = MetricFamily(
        "needletail_audit_differences", .gauge, [], "Entries that differed at the last comparison.")
    static let auditDifferencesTotal = MetricFamily(
        "needletail_audit_differences_total", .counter, [], "Entries that differed at all comparisons.")
    static let auditRepairs = MetricFamily(
        "needletail_audit_repairs_total", .counter, [], "Entries that were put right.")
    static let auditLastRun = MetricFamily(
        "needletail_audit_last_run_timestamp_seconds", .gauge, [],
        "When the maps were last compared, in seconds since 1970.")
    static let programmed = MetricFamily(
        "needletail_programmed", .gauge, ["kind"], "What the maps hold: service_ports, frontends, sets, backends.")
    static let problems = MetricFamily(
        "needletail_problems", .gauge, ["area"], "Problems that the log has told of and that are not solved.")
    static let attachedDevices = MetricFamily(
        "needletail_attached_devices", .gauge, ["hook", "role"], "Devices that carry the datapath.")
    static let healthCheckSockets = MetricFamily(
        "needletail_service_healthcheck_sockets", .gauge, ["state"],
        "Sockets for healthCheckNodePorts: listening, and failed.")

    // MARK: Generic

    static let healthCheck = MetricFamily(
        "kubernetes_healthcheck", .gauge, ["name", "type"], "Whether a check last succeeded (/metrics/slis).")
    static let healthChecks = MetricFamily(
        "kubernetes_healthchecks_total", .counter, ["name", "status", "type"],
        "Checks that were asked for, by result (/metrics/slis).")

    static let process = [
        processCPU, processOpenFDs, processMaxFDs, processVirtual, processVirtualMax, processResident, processStart,
        processThreads,
    ]

    static let processCPU = MetricFamily(
        "process_cpu_seconds_total", .counter, [], "Processor time of the agent, user and system.")
    static let processOpenFDs = MetricFamily("process_open_fds", .gauge, [], "Open file descriptors.")
    static let processMaxFDs = MetricFamily(
        "process_max_fds", .gauge, [], "How many file descriptors may be open.")
    static let processVirtual = MetricFamily("process_virtual_memory_bytes", .gauge, [], "Address space in use.")
    static let processVirtualMax = MetricFamily(
        "process_virtual_memory_max_bytes", .gauge, [], "How large the address space may be; -1 is without limit.")
    static let processResident = MetricFamily("process_resident_memory_bytes", .gauge, [], "Memory in use.")
    static let processStart = MetricFamily(
        "process_start_time_seconds", .gauge, [], "When the agent started, in seconds since 1970.")
    static let processThreads = MetricFamily("process_threads", .gauge, [], "Threads.")
}
