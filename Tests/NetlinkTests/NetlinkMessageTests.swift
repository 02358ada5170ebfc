import NetTypes
import TestSupport
import Testing

@testable import Netlink

/// Hexadecimal digits, with comments to the end of the line.
private func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.split(separator: "\n").flatMap { $0.prefix { $0 != "#" }.filter(\.isHexDigit) }
    return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
}

@Suite struct NetlinkMessageTests {
    @Test func nestedAttributesHaveLengthsAndPadding() {
        var message = NetlinkMessage(type: 16, flags: 0x605)
        message.header(UInt32(0xAABB_CCDD))
        message.attribute(3, string: "veth0")
        message.attribute(18) { info in
            info.attribute(1, string: "veth")
            info.attribute(2) { $0.attribute(4, value: UInt16(1500)) }
        }
        message.setSequence(7)
        #expect(
            message.bytes
                == bytes(
                    """
                    3c000000 1000 0506 07000000 00000000  # nlmsghdr: 60 bytes, RTM_NEWLINK, flags, sequence, port
                    ddccbbaa                              # family header
                    0a00 0300 7665746830 00 0000          # IFLA_IFNAME "veth0", padded by 2
                    1c00 1200                             # IFLA_LINKINFO, 28 bytes
                      0900 0100 76657468 00 000000        #   IFLA_INFO_KIND "veth", padded by 3
                      0c00 0200                           #   IFLA_INFO_DATA, 12 bytes
                        0600 0400 dc05 0000               #     an integer of 2 bytes, padded by 2
                    """))
        #expect(!message.isOversized)
    }

    @Test func attributeBeyond16BitsIsMarked() {
        var message = NetlinkMessage(type: 16, flags: 0)
        message.attribute(3, bytes: [UInt8](repeating: 1, count: 65531))
        #expect(!message.isOversized)
        message.attribute(3) { $0.attribute(1, bytes: [UInt8](repeating: 1, count: 65531)) }
        #expect(message.isOversized)
    }

    @Test func interfaceFromTheKernel() throws {
        let payload = bytes(
            """
            00 00 0100 07000000 43100100 00000000   # ifinfomsg: AF_UNSPEC, ARPHRD_ETHER, index 7, up running, change
            0900 0300 6574683000 000000             # IFLA_IFNAME "eth0"
            0800 0400 dc050000                      # IFLA_MTU 1500
            0a00 0100 020000000001 0000             # IFLA_ADDRESS
            0800 0500 09000000                      # IFLA_LINK 9
            0800 0a00 02000000                      # IFLA_MASTER 2
            1000 1200 0900 0100 7665746800 000000   # IFLA_LINKINFO { IFLA_INFO_KIND "veth" }
            """)
        let interface = try #require(Interface(payload: payload[...]))
        #expect(interface.index == 7 && interface.name == "eth0" && interface.kind == "veth")
        #expect(interface.hardwareType == .ethernet && interface.mtu == 1500)
        #expect(interface.isUp && interface.isRunning && !interface.isLoopback)
        #expect(interface.hardwareAddress?.description == "02:00:00:00:00:01")
        #expect(interface.peerIndex == 9 && interface.controllerIndex == 2)

        var bridgePort = payload
        bridgePort[0] = 7
        #expect(Interface(payload: bridgePort[...]) == nil, "AF_BRIDGE messages are about ports, not interfaces")
    }

    @Test(arguments: [
        // flags, tentative, usable
        (UInt32(0x80), false, true), (0x40, true, false), (0x08, true, false), (0x44, false, true),
        (0x20, false, false), (0x01, false, false),
    ])
    func addressFlags(_ flags: UInt32, _ isTentative: Bool, _ isUsable: Bool) throws {
        var payload = bytes(
            """
            0a 40 00 00 03000000                             # ifaddrmsg: AF_INET6, /64, flags, global, index 3
            1400 0100 20010db8000000000000000000000001       # IFA_ADDRESS
            0800 0800                                        # IFA_FLAGS
            """)
        withUnsafeBytes(of: flags) { payload += $0 }
        let address = try #require(InterfaceAddress(payload: payload[...]))
        #expect(address.address == IPAddress("2001:db8::1") && address.prefixLength == 64)
        #expect(address.scope == .global && address.interfaceIndex == 3)
        #expect(address.isTentative == isTentative && address.isUsable == isUsable)
    }

    @Test func ownAddressOfAPointToPointLink() throws {
        let payload = bytes(
            """
            02 20 80 00 03000000      # ifaddrmsg: AF_INET, /32
            0800 0100 c0000202        # IFA_ADDRESS: the peer's
            0800 0200 c0000201        # IFA_LOCAL: ours
            """)
        #expect(InterfaceAddress(payload: payload[...])?.address == IPAddress("192.0.2.1"))
    }

    @Test func garbageIsReadWithoutHarm() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...96, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            // Small numbers where lengths are, or nearly everything would end at the first message.
            for offset in stride(from: 1, to: bytes.count, by: Int.random(in: 2...4, using: &random)) {
                bytes[offset] = UInt8.random(in: 0...1, using: &random)
            }
            var count = 0
            for message in NetlinkMessages(bytes[...]) {
                count += 16 + message.payload.count
                _ = Interface(payload: message.payload)
                _ = InterfaceAddress(payload: message.payload)
                let acknowledgement = Acknowledgement(message)
                #expect(acknowledgement.code >= 0, "seed \(seed)")
                for attribute in NetlinkAttributes(message.payload) {
                    _ = (attribute.string, attribute.integer(UInt64.self), Array(attribute.nested).count)
                }
            }
            _ = (Interface(payload: bytes[...]), InterfaceAddress(payload: bytes[...]))
            #expect(count <= bytes.count, "seed \(seed)")
        }
    }

    @Test func truncationIsReadWithoutHarm() throws {
        var message = NetlinkMessage(type: 16, flags: 0)
        message.header((UInt64(0x7_0001_0000), UInt64(1)))
        message.attribute(3, string: "eth0")
        message.attribute(18) { $0.attribute(1, string: "veth") }
        #expect(Array(NetlinkMessages(message.bytes[...])).count == 1)
        for length in 0..<message.bytes.count {
            #expect(Array(NetlinkMessages(message.bytes.prefix(length))).isEmpty)
            _ = Interface(payload: message.bytes.prefix(length).dropFirst(16))
        }
    }
}

@Suite struct MACAddressTests {
    @Test(arguments: ["02:00:5e:10:00:ff", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"])
    func textRoundTrip(_ text: String) {
        #expect(MACAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "02:00:5e:10:00", "02:00:5e:10:00:f", "02:00:5e:10:00:+f", "02-00-5e-10-00-ff", "0g:0:0:0:0:0",
    ])
    func notAnAddress(_ text: String) {
        #expect(MACAddress(text) == nil)
    }
}
