/// Upper bounds of histogram buckets, in seconds, without the last one, which is infinite.
public enum Buckets {
    /// `kubeproxy_sync_proxy_rules_duration_seconds`: 15 buckets from 1 ms, doubling (`pkg/proxy/metrics/metrics.go`).
    public static let sync: [Double] = (0..<15).map { 0.001 * Double(1 << $0) }

    /// `kubeproxy_network_programming_duration_seconds`: a quarter and half second, each second of the first minute,
    /// every five of the second, and every thirty up to five minutes.
    public static let networkProgramming: [Double] =
        [0.25, 0.5] + (1...59).map(Double.init) + stride(from: 60, through: 115, by: 5).map(Double.init)
        + stride(from: 120, through: 300, by: 30).map(Double.init)
}
