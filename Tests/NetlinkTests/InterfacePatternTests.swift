import Netlink
import Testing

@Suite struct InterfacePatternTests {
    @Test(arguments: [
        ("eth0", ["eth0"], ["eth1", "eth00", "et", ""]),
        ("veth*", ["veth", "veth1", "vethabc"], ["eth0", "xveth1"]),
        ("lxc+", ["lxc", "lxc_health"], ["lx", "alxc"]),
        ("eth?", ["eth0", "ethx"], ["eth", "eth10"]),
        ("*", ["lo", "eth0"], []),
        ("+", ["lo", "eth0"], []),
        ("a*b*c", ["abc", "aXbYbc", "abcbc"], ["ab", "abcd", "acb"]),
        ("e+h", ["e+h"], ["eth", "eh"]),
        ("eth0, eth1", ["eth0", "eth1"], ["eth2"]),
        ("eth*,!eth1", ["eth0", "eth10"], ["eth1", "lo"]),
        ("!eth1,eth*", ["eth0"], ["eth1", "lo"]),
        ("!lo,!docker*", ["eth0"], ["lo", "docker0"]),
        ("****************a", ["a", "bba"], ["b"]),
    ])
    func chooses(_ pattern: String, _ inside: [String], _ outside: [String]) throws {
        let pattern = try InterfacePattern(pattern)
        for name in inside { #expect(pattern.matches(name), "\(name)") }
        for name in outside { #expect(!pattern.matches(name), "\(name)") }
    }

    @Test(arguments: ["", ",", "eth0,", "!", "eth 0", "a/b", "eth0:1", "!!eth0", "0123456789abcdef", "e\tth"])
    func refuses(_ text: String) {
        #expect(throws: InterfacePattern.Invalid.self) { try InterfacePattern(text) }
    }

    @Test func describesItself() throws {
        #expect(try InterfacePattern(" veth* , !veth1").description == "veth*,!veth1")
        let error = #expect(throws: InterfacePattern.Invalid.self) { try InterfacePattern("eth0,a/b") }
        #expect(error?.item == "a/b")
    }
}
