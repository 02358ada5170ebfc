/// Upper bounds of histogram buckets, in seconds, without the last one, which is infinite.
public enum Buckets {
    /// `kubeproxy_sync_proxy_rules_duration_seconds`: 15 buckets from 1 ms, doubling (`pkg/proxy/metrics/metrics.go`).
    public static let sync: [Double] = (0..<15).map { 0.001 * Double(1 << $0) }

    /// `kubeproxy_network_programming_duration_seconds`: a quarter and half second, each second of the first minute,
    /// every five of the second, and every thirty up to five minutes.
    public static let networkProgramming: [Double] =
        [0.25, 0.5] + (1...59).map(Double.init) + stride(from: 60, through: 115, by: 5).map(Double.init)
        + stride(from: 120, through: 300, by: 30).map(Double.init)

    /// `rest_client_request_duration_seconds` (`component-base/metrics/prometheus/restclient`).
    public static let restClient: [Double] = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]

    /// Parts of a sync, and other work that takes microseconds when little has changed: 20 µs, then fourfold to 84 s.
    public static let work: [Double] = [
        0.00002, 0.00008, 0.00032, 0.00128, 0.00512, 0.02048, 0.08192, 0.32768, 1.31072, 5.24288, 20.97152, 83.88608,
    ]
}
