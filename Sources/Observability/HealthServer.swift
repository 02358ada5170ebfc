extension HTTPServer {
    /// kube-proxy's health server: `/healthz` for load balancers, `/livez` for the kubelet, by any method.
    ///
    /// - Parameters:
    ///   - failsHard: Whether ``run()`` throws when it cannot listen, instead of trying again.
    ///   - retryInterval: From one attempt to listen to the next.
    ///   - report: Told how listening goes; of a failure once.
    public static func health(
        _ address: ListenAddress, on thread: ServerThread, _ health: HealthState, failsHard: Bool = false,
        retryInterval: Duration = .seconds(5), report: @escaping @Sendable (BindReport) -> Void = { _ in }
    ) -> HTTPServer {
        HTTPServer(
            address, on: thread, failsHard: failsHard, retryInterval: retryInterval, report: report,
            .atOnce { question in
                switch question.path {
                case "/healthz": health.answer(.healthz)
                case "/livez": health.answer(.livez)
                default: .notFound
                }
            })
    }
}
