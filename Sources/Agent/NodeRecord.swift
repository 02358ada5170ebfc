internal import Dataplane
internal import Glibc
internal import NeedletailABI

/// The element of the map `nt_meta`: what whoever reads the maps may want to know of the agent.
enum NodeRecord {
    /// CLOCK_REALTIME in nanoseconds.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    static func starting(_ configuration: AgentConfiguration) -> nt_meta {
        var meta = nt_meta()
        meta.abi_version = NT_ABI_VERSION
        meta.agent_pid = UInt32(bitPattern: getpid())
        meta.agent_started = now()
        FixedText.store(configuration.nodeName, in: &meta.node_name)
        FixedText.store(AgentConfiguration.version, in: &meta.agent_version)
        return meta
    }

    static func store(_ meta: nt_meta, in maps: DatapathMaps) throws {
        try maps.store(meta)
    }
}
