import KubernetesWire
import ServiceModel
import Testing

@Suite("What is odd, wrong or too large")
struct OddInputTests {
    private func service(_ fields: String) throws -> Service {
        let text = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"}\(fields)}}\n"
        let events = try Fixture.events(Array(text.utf8), .service, .json)
        guard case .upsert(let received) = try #require(events.first), case .service(let service) = received.object
        else {
            throw WireError(cause: .malformed("no Service"), kind: .service, offset: 0)
        }
        return service
    }

    @Test("JSON that is odd but true is read")
    func oddJSON() throws {
        let name = { (text: String) in try service(#","spec":{"clusterIP":\#(text)}"#).clusterIP }
        #expect(try name(#""a\"b\\c\/d\b\f\n\r\t""#) == "a\"b\\c/d\u{8}\u{C}\n\r\t")
        #expect(try name(#""\u0041\u00e9\u20AC\ud83d\ude00""#) == "Aé€😀")
        #expect(try name(#""\ud83d""#) == "\u{FFFD}")
        #expect(try name(#""\ude00x""#) == "\u{FFFD}x")
        #expect(try name(#""\ud83d\u0041""#) == "\u{FFFD}A")
        #expect(try name(#""{[\"]}""#) == "{[\"]}")
        #expect(try name("null").isEmpty)
        let port = { (text: String) in try service(",\"spec\":{\"healthCheckNodePort\":\(text)}").healthCheckNodePort }
        #expect(try port("0") == 0)
        #expect(try port("-0") == 0)
        #expect(try port(" 2147483647 ") == 2_147_483_647)
        #expect(try port("-2147483648") == -2_147_483_648)
        #expect(try port("null") == 0)
        #expect(try service(#","spec":{"healthCheckNodePort":1,"healthCheckNodePort":2}"#).healthCheckNodePort == 2)
        #expect(try service(#","spec":{"cl\u0075sterIP":"x"}"#).clusterIP == "x")
        #expect(try service(#","spec":null,"status":null"#).clusterIP.isEmpty)
        #expect(try service(#","spec":{"ports":[null,{"port":1}],"externalIPs":[null,"x"]}"#).ports.count == 1)
        #expect(try service(#","unknown":[{"a":[1.5e-9,true,{}]},"]"],"spec":{"clusterIP":"x"}"#).clusterIP == "x")
    }

    @Test(
        "JSON that is wrong is an error that names the object and the field",
        arguments: [
            (#","spec":{"ports":[{"port":1},{"port":"http"}]}"#, "object.spec.ports[1].port", "integer"),
            (#","spec":{"ports":[{"port":1.5}]}"#, "object.spec.ports[0].port", "integer"),
            (#","spec":{"ports":[{"port":1e3}]}"#, "object.spec.ports[0].port", "integer"),
            (#","spec":{"ports":[{"port":01}]}"#, "object.spec.ports[0].port", "integer"),
            (#","spec":{"ports":[{"port":99999999999999999999}]}"#, "object.spec.ports[0].port", "range"),
            (#","spec":{"ports":[{"port":2147483648}]}"#, "object.spec.ports[0].port", "range"),
            (#","spec":{"clusterIP":7}"#, "object.spec.clusterIP", "string"),
            (#","spec":{"clusterIP":"\x"}"#, "object.spec.clusterIP", "escape"),
            (#","spec":{"clusterIP":"\u12G4"}"#, "object.spec.clusterIP", "hexadecimal"),
            (#","spec":{"clusterIPs":"x"}"#, "object.spec.clusterIPs", "list"),
            (#","spec":[]"#, "object.spec", "object"),
            (#","spec":nul"#, "object.spec", "object"),
            (#","spec":{"clusterIP":"x",}"#, "object.spec.clusterIP", "key"),
            (#","spec":{"clusterIP" "x"}"#, "object.spec", "colon"),
            (#","kind":"Endpoints""#, "object.kind", "Endpoints"),
        ])
    func wrongJSON(_ fields: String, _ path: String, _ word: String) throws {
        let error = try #require(throws: WireError.self) { _ = try service(fields) }
        #expect(error.object == ObjectName(namespace: "shop", name: "web"))
        #expect(error.path == path)
        #expect("\(error.cause)".contains(word))
        #expect("\(error)".hasPrefix("Service shop/web: byte \(error.offset): \(path): "))
    }

    @Test(
        "What is no event is an error",
        arguments: [
            "x\n", "[]\n", "{\n", "{}\n", "null\n", "{\"type\":\"ADDED\"}\n", "{\"type\":\"SOON\",\"object\":{}}\n",
            "{\"type\":\"ADDED\",\"object\":{}} x\n", "{\"type\":\"ADDED\",\"object\":{}}\n",
            "{\"type\":\"ADDED\",\"object\":[}}\n", "{\"type\":\"ADDED\",\"object\":{\"spec\":{}}\n",
            "{\"type\":\"ADDED\",\"object\":null}\n", "<html>\n",
            "{\"type\":\"ADDED\",\"object\":\(String(repeating: "[", count: 100_000))\n",
            "{\"type\":\"ADDED\",\"object\":{\"a\":\(String(repeating: "[", count: 200))\(String(repeating: "]", count: 200))}}\n",
        ])
    func noEvents(_ text: String) {
        #expect(throws: WireError.self) { try Fixture.events(Array(text.utf8), .service, .json) }
    }

    @Test(
        "What is no list is an error",
        arguments: [
            "", " ", "{}", "[]", "x", "{\"kind\":\"ServiceList\"", "{\"kind\":\"ServiceList\"} x",
            "{\"kind\":\"PodList\",\"items\":[]}", "{\"items\":[]}", "{\"kind\":\"ServiceList\",\"items\":{}}",
            "{\"kind\":\"ServiceList\",\"items\":[],\"items\":[]}", "{\"kind\":\"ServiceList\",\"items\":[1]}",
            "{\"kind\":\"ServiceList\",\"items\":[{}]}", "{\"kind\":\"ServiceList\",\"items\":[}",
            "{\"kind\":\"ServiceList\" \"items\":[]}", "{\"kind\" \"ServiceList\"}", "{\"kind\":7}", "{,}",
            "{\"kind\":\"ServiceList\",}", "{\"kind\":\"Status\",\"code\":403}", "k8s␀",
        ])
    func noLists(_ text: String) {
        let bytes = Array(text.replacing("␀", with: "\0").utf8)
        for format in WireFormat.allCases {
            #expect(throws: WireError.self) { try ListReader.read(bytes.span.bytes, kind: .service, format: format) }
        }
    }

    @Test(
        "A list may be empty, and its parts in any order",
        arguments: [
            #"{"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":null}"#,
            #"{"items":[],"metadata":{"resourceVersion":"7","continue":null},"kind":"ServiceList"}"#,
            " \n{ \"ite\\u006ds\" : [ ] , \"metadata\" : {\"resourceVersion\":\"7\"}, \"kind\":\"ServiceList\" }\n",
        ])
    func emptyLists(_ text: String) throws {
        let bytes = Array(text.utf8)
        let list = try ListReader.read(bytes.span.bytes, kind: .service, format: .json)
        #expect(list == ReceivedList(resourceVersion: ResourceVersion("7"), items: []))
    }

    @Test("An object that is wrong in a list is named with its place")
    func wrongItem() throws {
        let good = #"{"metadata":{"name":"a","namespace":"b"}}"#
        let bad = #"{"metadata":{"name":"c","namespace":"d"},"spec":{"ports":[{"port":{}}]}}"#
        let head = #"{"kind":"ServiceList","items":["#
        let bytes = Array("\(head)\(good),\(bad)]}".utf8)
        let error = try #require(throws: WireError.self) {
            try ListReader.read(bytes.span.bytes, kind: .service, format: .json)
        }
        #expect(error.path == "items[1].spec.ports[0].port")
        #expect(error.object == ObjectName(namespace: "d", name: "c"))
        #expect(bytes[error.offset] == UInt8(ascii: "{") && bytes[error.offset + 1] == UInt8(ascii: "}"))
    }

    @Test(
        "Protobuf that is wrong is an error that names the object and the numbers of the fields",
        arguments: [
            (Protobuf.message([(3, .number(1))]), "2.3"),
            (Protobuf.message([(1, .message([(3, .text("http"))]))]), "2.1.3"),
            (Protobuf.message([(1, .bytes([0x0B]))]), "2.1"),
            (Protobuf.message([(1, .bytes([0x08]))]), "2.1"),
            (Protobuf.message([(1, .bytes([0x0A, 0x7F]))]), "2.1"),
            (Protobuf.message([(1, .bytes([0x00, 0x00]))]), "2.1"),
        ])
    func wrongProtobuf(_ spec: Protobuf, _ path: String) throws {
        let object = Protobuf.message([(1, .message([(1, .text("web")), (3, .text("shop"))])), (2, spec)])
        let list = SampleGenerator.envelope("ServiceList", .message([(2, object)]))
        let error = try #require(throws: WireError.self) {
            try ListReader.read(list.span.bytes, kind: .service, format: .protobuf)
        }
        #expect(error.object == ObjectName(namespace: "shop", name: "web"))
        #expect(error.path == "2[0].\(path)")
    }

    @Test("An object of another kind is an error that names it", arguments: WireFormat.allCases)
    func otherKind(_ format: WireFormat) throws {
        var generator = SampleGenerator(seed: 1)
        let event = generator.event("ADDED", generator.sample(.node), .node, format)
        let ofEvent = try #require(throws: WireError.self) { try Fixture.events(event, .service, format) }
        #expect(ofEvent.cause == .otherKind("Node"))
        let list = generator.list([], .node, format, continuing: "")
        let ofList = try #require(throws: WireError.self) {
            try ListReader.read(list.span.bytes, kind: .service, format: format)
        }
        #expect(ofList.cause == .otherKind("NodeList"))
    }

    @Test("What is larger than the limit is refused before it is all there", arguments: WireFormat.allCases)
    func limits(_ format: WireFormat) throws {
        var generator = SampleGenerator(seed: 2)
        let sample = generator.sample(.service)
        let event = generator.event("ADDED", sample, .service, format)
        let size = format == .json ? event.count - 1 : event.count - 4
        var exact = WatchReader(kind: .service, format: format, maximumFrameSize: size)
        exact.append(event.span.bytes)
        #expect(try exact.next() == .upsert(sample.received))
        var tight = WatchReader(kind: .service, format: format, maximumFrameSize: size - 1)
        tight.append(Array(event.dropLast(2)).span.bytes)
        if format == .json { tight.append(Array(event.suffix(2)).span.bytes) }
        let error = try #require(throws: WireError.self) { _ = try tight.next() }
        #expect(error.cause == .tooLarge(limit: size - 1))
        // It stays so, whatever follows.
        tight.append(event.span.bytes)
        #expect(throws: error) { _ = try tight.next() }

        let list = generator.list([sample], .service, format, continuing: "")
        var reader = ListReader(kind: .service, format: format, maximumObjectSize: 200)
        reader.append(Array(list.dropLast(10)).span.bytes)
        let ofList = try #require(throws: WireError.self) { while try reader.next() != nil {} }
        #expect(ofList.cause == .tooLarge(limit: 200))
    }

    @Test("Time and cost of a frame that trickles in do not grow with its square")
    func trickle() throws {
        var generator = SampleGenerator(seed: 6)
        let samples = (0..<200).map { _ in generator.sample(.endpointSlice) }
        let bytes = generator.list(samples, .endpointSlice, .json, continuing: "")
        let list = try readList(bytes, .endpointSlice, .json) { _ in 1 }
        #expect(list.items.count == 200)
    }

    @Test(
        "The format of an answer is told by its content type",
        arguments: [
            ("application/json", WireFormat.json), ("application/json; charset=utf-8", .json),
            ("Application/JSON", .json), ("application/vnd.kubernetes.protobuf", .protobuf),
            ("application/vnd.kubernetes.protobuf;stream=watch", .protobuf), ("text/html", nil), ("", nil),
            ("application/jsonx", nil),
        ])
    func contentTypes(_ text: String, _ format: WireFormat?) {
        #expect(WireFormat(contentType: text) == format)
    }

    @Test("What is asked for is understood in the answer", arguments: WireFormat.allCases)
    func mediaTypes(_ format: WireFormat) {
        #expect(WireFormat(contentType: format.listMediaType) == format)
        #expect(WireFormat(contentType: format.watchMediaType) == format)
    }
}
