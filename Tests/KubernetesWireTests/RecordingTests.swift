import KubernetesWire
import Manifests
import ServiceModel
import Testing

@Suite("Answers of a real API server")
struct RecordingTests {
    @Test(
        "A list means the same in JSON and protobuf",
        arguments: [("services.list", ObjectKind.service), ("endpointslices.list", .endpointSlice)])
    func formatsAgreeOnLists(_ name: String, _ kind: ObjectKind) throws {
        let json = try Fixture.list("\(name).json", kind, .json)
        let protobuf = try Fixture.list("\(name).pb", kind, .protobuf)
        #expect(json == protobuf)
        #expect(json.items.count > 3)
        #expect(json.resourceVersion.text == protobuf.resourceVersion.text && !json.resourceVersion.text.isEmpty)
    }

    @Test(
        "A watch means the same in JSON and protobuf",
        arguments: [("services.watchlist", ObjectKind.service), ("endpointslices.watchlist", .endpointSlice)])
    func formatsAgreeOnWatches(_ name: String, _ kind: ObjectKind) throws {
        let json = try Fixture.events("\(name).jsonl", kind, .json)
        let protobuf = try Fixture.events("\(name).pb", kind, .protobuf)
        #expect(json == protobuf)
        let ends = json.filter { if case .bookmark(_, endsInitialEvents: true) = $0 { true } else { false } }
        #expect(ends.count == 1)
    }

    @Test(
        "A list holds the objects that the same text does as a manifest",
        arguments: [
            ("services.list.json", ObjectKind.service), ("endpointslices.list.json", .endpointSlice),
            ("node.list.json", .node), ("servicecidrs.list.json", .serviceCIDR),
        ])
    func listsAreReadAsManifests(_ name: String, _ kind: ObjectKind) throws {
        let manifest = try ManifestParser().parse(Fixture.bytes(name), file: name)
        let list = try Fixture.list(name, kind, .json)
        #expect(list.items.map(\.object) == manifest.items.map(\.object))
        #expect(!list.items.isEmpty)
    }
}
