/// Times that list and watch keep. The defaults are client-go's where it has them.
public struct ClusterTiming: Sendable, Hashable {
    /// To connect: address look-up, TCP, TLS.
    public var connect = Duration.seconds(10)
    /// From a request to the head of its answer. The server may make a request wait its turn for up to a minute.
    public var answer = Duration.seconds(70)
    /// How long a credential plugin may run.
    public var plugin = Duration.seconds(60)
    /// A list, from the request to its last byte; a streamed one to the bookmark that ends the initial events.
    public var list = Duration.seconds(180)
    /// How long a list may pause. A streamed one that has sent its objects and does not say that these are all comes from
    /// a server that is behind the version asked for, or does not know of streamed lists.
    public var listPause = Duration.seconds(30)
    /// How long a watch may send nothing before its connection is taken for dead: bookmarks come about every minute.
    public var silence = Duration.seconds(150)
    /// `timeoutSeconds` of a watch, a random number in these: the server ends the watch then.
    public var watchSeconds = 300..<600
    /// A watch that ends sooner without having told anything counts as failed.
    public var shortWatch = Duration.seconds(1)
    /// The pause after a first failure; each further one doubles it, up to ``longestBackoff``, and adds up to as much
    /// again at random.
    public var firstBackoff = Duration.milliseconds(800)
    /// The longest pause, before the random part.
    public var longestBackoff = Duration.seconds(30)
    /// After this long without a failure, the next one is a first one again.
    public var healthy = Duration.seconds(120)
    /// When to ask again for what the cluster does not have, or does not let the agent see (ServiceCIDRs).
    public var absent = Duration.seconds(300)
    /// How long the first sync waits for the Node object once Services and EndpointSlices are there.
    public var node = Duration.seconds(30)
    /// How often a failure that lasts is logged again.
    public var reminder = Duration.seconds(60)

    /// The defaults.
    public init() {}
}
