internal import NetTypes
internal import ServiceModel

extension MetricsSnapshot {
    private typealias Sample = MetricsText.Sample

    /// Adds all series that there are figures for.
    public func write(to text: inout MetricsText) {
        if let agent {
            text.add(Metrics.buildInfo, [Sample([agent.architecture, agent.version], .count(1))])
            text.add(Metrics.agentInfo, [Sample([agent.kernel, agent.node, agent.source], .count(1))])
        }
        recorded?.write(to: &text)
        text.add(Metrics.healthz, answers.healthz.map { Sample(["\($0)"], .count($1)) })
        text.add(Metrics.livez, answers.livez.map { Sample(["\($0)"], .count($1)) })
        text.add(
            Metrics.noLocalEndpoints,
            noLocalEndpoints.flatMap { none in
                [("internal", none.internalTraffic), ("external", none.externalTraffic)].map {
                    Sample([none.family.label, $0], .number(Double($1)))
                }
            })
        text.add(Metrics.restRequests, restRequests.map { Sample([$0.code, $0.host, $0.method], .count($0.count)) })
        text.add(Metrics.restDuration, restDurations.map { Sample([$0.host, $0.verb], .histogram($0.durations)) })
        text.add(Metrics.packets, counters.map { Sample([$0.counter, $0.outcome, $0.program], .count($0.packets)) })
        services?.write(to: &text)
        writeMaps(&text)
        for watch in watches { watch.write(to: &text) }
        audit?.write(to: &text)
        text.add(Metrics.programmed, programmed.map { Sample([$0], .number(Double($1))) })
        text.add(Metrics.problems, problems.map { Sample([$0], .number(Double($1))) })
        text.add(Metrics.attachedDevices, devices.map { Sample([$0.hook, $0.role], .number(Double($0.count))) })
        if let healthCheckSockets {
            text.add(
                Metrics.healthCheckSockets,
                [("listening", healthCheckSockets.listening), ("failed", healthCheckSockets.failed)].map {
                    Sample([$0], .number(Double($1)))
                })
        }
        process.write(to: &text)
    }

    private func writeMaps(_ text: inout MetricsText) {
        text.add(Metrics.mapEntries, maps.map { Sample([$0.name, $0.unit], .number(Double($0.used))) })
        text.add(Metrics.mapCapacity, maps.map { Sample([$0.name, $0.unit], .number(Double($0.size))) })
        text.add(
            Metrics.mapMemory,
            maps.compactMap { map in map.bytes.map { Sample([map.name], .number(Double($0))) } })
        text.add(
            Metrics.flowEntries,
            flows.map { Sample([$0.family.label, "\($0.transport)", $0.state], .number(Double($0.entries))) })
    }
}

extension MetricsSnapshot.Watch {
    func write(to text: inout MetricsText) {
        typealias Sample = MetricsText.Sample
        if let age { text.add(Metrics.watchAge, [Sample([kind], .number(max(0, age / .seconds(1))))]) }
        text.add(Metrics.watchPhase, [Sample([kind, phase], .count(1))])
        text.add(Metrics.watchSynced, [Sample([kind], .count(isSynced ? 1 : 0))])
        text.add(Metrics.watchObjects, [Sample([kind], .number(Double(objects)))])
        text.add(Metrics.watchLists, [Sample([kind], .count(lists))])
        text.add(Metrics.watchStreams, [Sample([kind], .count(watches))])
        text.add(Metrics.watchEvents, events.map { Sample([kind, $0], .count($1)) })
        text.add(Metrics.watchStale, [Sample([kind], .count(staleEvents))])
        let byCount = errors.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        text.add(Metrics.watchErrors, byCount.prefix(Self.maxReasons).map { Sample([kind, $0.key], .count($0.value)) })
        let rest = byCount.dropFirst(Self.maxReasons).map(\.value).sum
        if rest > 0 { text.add(Metrics.watchErrors, [Sample([kind, "other"], .count(rest))]) }
    }
}

extension MetricsSnapshot.Audit {
    func write(to text: inout MetricsText) {
        text.add(Metrics.auditRuns, .count(runs))
        text.add(Metrics.auditDifferences, .number(Double(lastDifferences)))
        text.add(Metrics.auditDifferencesTotal, .count(differences))
        text.add(Metrics.auditRepairs, .count(repairs))
        if let lastRun { text.add(Metrics.auditLastRun, .number(lastRun.timestamp)) }
    }
}

extension ServiceSeries {
    func write(to text: inout MetricsText) {
        typealias Sample = MetricsText.Sample
        var packets: [Sample] = []
        var bytes: [Sample] = []
        var newFlows: [Sample] = []
        var refused: [Sample] = []
        func add(_ figures: ServiceFigures, namespace: String, port: String, transport: String, service: String) {
            for (direction, traffic) in [("forward", figures.forward), ("reverse", figures.reverse)] {
                packets.append(Sample([direction, namespace, port, transport, service], .count(traffic.packets)))
                bytes.append(Sample([direction, namespace, port, transport, service], .count(traffic.bytes)))
            }
            newFlows.append(Sample([namespace, port, transport, service], .count(figures.newFlows)))
            for (reason, count) in figures.refused {
                refused.append(Sample([namespace, port, transport, reason, service], .count(count)))
            }
        }
        for (name, figures) in own {
            add(
                figures, namespace: name.service.namespace, port: name.port, transport: "\(name.transport)",
                service: name.service.name)
        }
        // No Service port can have a name with an underscore.
        add(pooled, namespace: "", port: "_other", transport: "", service: "")
        text.add(Metrics.servicePackets, packets)
        text.add(Metrics.serviceBytes, bytes)
        text.add(Metrics.serviceNewFlows, newFlows)
        text.add(Metrics.serviceRefused, refused)
        for (direction, traffic) in [("forward", total.forward), ("reverse", total.reverse)] {
            text.add(Metrics.trafficPackets, [Sample([direction], .count(traffic.packets))])
            text.add(Metrics.trafficBytes, [Sample([direction], .count(traffic.bytes))])
        }
        text.add(Metrics.trafficNewFlows, .count(total.newFlows))
        text.add(Metrics.trafficRefused, total.refused.map { Sample([$0], .count($1)) })
        text.add(
            Metrics.servicePorts,
            [Sample(["own"], .number(Double(own.count))), Sample(["_other"], .number(Double(pooledPorts)))])
    }
}
