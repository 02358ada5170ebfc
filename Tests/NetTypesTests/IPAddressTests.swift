import NetTypes
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("010.001.2.3", "10.1.2.3"), ("0.0.0.0", "0.0.0.0"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("::", "::"), ("::1", "::1"), ("2001:db8::", "2001:db8::"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("198.018.0000.00000001", "198.18.0.1"),
        ("2001:00db8::00000:1", "2001:db8::1"), ("::ffff:198.018.000.001", "198.18.0.1"),
        ("2001:db8::198.018.0.01", "2001:db8::c612:1"), ("0000:00000::", "::"),
    ])
    func canonicalText(_ text: String, _ canonical: String) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1..2.3", "1.2.3.4 ", "a.b.c.d", "-1.2.3.4", ":", ":::", "1::2::3",
        "fe80::1%eth0", "12345::", "012345::", "00000000x::", "::ffff:198.18.0.0256", "0198.18.0.1.", "1.2.3.4/24",
        String(repeating: "1:", count: 400),
    ])
    func notAnAddress(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func bytesRoundTrip() {
        for text in ["192.0.2.1", "2001:db8::1:2", "::"] {
            let address = IPAddress(text)
            #expect(address.flatMap { IPAddress(bytes: $0.bytes) } == address)
        }
        #expect(IPAddress(bytes: [1, 2, 3]) == nil)
    }

    @Test func classes() {
        #expect(IPAddress("127.1.2.3")?.isLoopback == true && IPAddress("::1")?.isLoopback == true)
        #expect(IPAddress("169.254.9.9")?.isLinkLocal == true && IPAddress("fe80::1")?.isLinkLocal == true)
        #expect(IPAddress("febf::1")?.isLinkLocal == true && IPAddress("fec0::1")?.isLinkLocal == false)
        #expect(IPAddress("224.0.0.1")?.isMulticast == true && IPAddress("ff02::1")?.isMulticast == true)
    }

    @Test(arguments: [
        ("192.0.2.77/24", "192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("0.0.0.0/0", "0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("1.2.3.0/024", "1.2.3.0/24", "1.2.3.4", "1.2.4.4"),
        ("198.018.000.000/00000015", "198.18.0.0/15", "198.19.255.255", "198.20.0.0"),
        ("2001:00db8::/0032", "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::1/64", "2001:db8::/64", "2001:db8::ffff", "2001:db8:0:1::"),
    ])
    func prefixes(_ text: String, _ canonical: String, _ inside: String, _ outside: String) throws {
        let prefix = try #require(CIDR(text))
        #expect(prefix.description == canonical)
        #expect(try prefix.contains(#require(IPAddress(inside))))
        #expect(try !prefix.contains(#require(IPAddress(outside))))
    }

    @Test(arguments: [
        "192.0.2.0", "192.0.2.0/33", "192.0.2.0/0033", "192.0.2.0/99999999999999999999", "192.0.2.0/-1", "192.0.2.0/",
        "/24", "2001:db8::/129", "1.2.3.4/1/2",
    ])
    func notAPrefix(_ text: String) {
        #expect(CIDR(text) == nil)
    }
}
