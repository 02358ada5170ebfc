internal import Manifests
internal import ServiceModel

/// Reads and writes `AgentConfiguration`. A key that is not known is an error: whoever wrote it means something by it.
enum OwnFormat {
    static func read(_ document: Cursor) throws(SettingsProblem) -> LoadedSettings {
        var loaded = LoadedSettings()
        var problems: [ManifestProblem] = []
        let settings = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.key, $0) })
        let groups = Set(Setting.all.compactMap(\.group))

        func assign(_ setting: Setting, _ value: Cursor) throws(ManifestProblem) {
            guard !value.isNull else { return }
            try value.override(setting).apply(to: &loaded)
        }
        func visit(_ cursor: Cursor, in group: String?) throws(ManifestProblem) {
            for (key, value) in try cursor.entries() {
                let name = group.map { "\($0).\(key)" } ?? key
                if group == nil, ["apiVersion", "kind"].contains(key) { continue }
                do throws(ManifestProblem) {
                    if let setting = settings[name] {
                        try assign(setting, value)
                    } else if group == nil, groups.contains(key) {
                        if !value.isNull { try visit(value, in: key) }
                    } else {
                        throw value.problem(unknown(name, Set(settings.keys).union(group == nil ? groups : [])))
                    }
                } catch {
                    problems.append(error)
                }
            }
        }
        do throws(ManifestProblem) {
            try visit(document, in: nil)
        } catch {
            problems.append(error)
        }
        guard problems.isEmpty else { throw SettingsProblem(problems) }
        return loaded
    }

    private static func unknown(_ key: String, _ known: Set<String>) -> String {
        // Also those of other groups: a key may be right and stand in the wrong place.
        let last = key.split(separator: ".").last.map(String.init) ?? key
        let near =
            NearNames.suggestions(for: key, among: known).first
            ?? known.filter { $0.split(separator: ".").last.map(String.init) == last }.min()
        return "there is no such key" + (near.map { "; did you mean \($0)?" } ?? "")
    }

    /// The whole configuration, with what nobody has said.
    static func text(_ settings: Settings) -> String {
        var lines = ["apiVersion: \(SettingsFile.apiVersion)", "kind: \(SettingsFile.kind)"]
        var group: String?
        for setting in Setting.all {
            guard let text = setting.text(in: settings) else { continue }
            if setting.group != group {
                group = setting.group
                if let group { lines.append("\(group):") }
            }
            let name = setting.key.split(separator: ".").last.map(String.init) ?? setting.key
            lines.append("\(group == nil ? "" : "  ")\(name): \(setting.yaml(text))")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension OwnFormat {
    /// The same in JSON: what a YAML value is written as here is JSON too.
    static func json(_ settings: Settings) -> String {
        var groups: [(name: String?, members: [String])] = []
        for setting in Setting.all {
            guard let text = setting.text(in: settings) else { continue }
            if groups.last.map({ $0.name != setting.group }) ?? true { groups.append((setting.group, [])) }
            let name = setting.key.split(separator: ".").last.map(String.init) ?? setting.key
            groups[groups.count - 1].members.append("\"\(name)\":\(setting.yaml(text))")
        }
        let members = groups.flatMap { group in
            group.name.map { ["\"\($0)\":{\(group.members.joined(separator: ","))}"] } ?? group.members
        }
        let head = ["\"apiVersion\":\"\(SettingsFile.apiVersion)\"", "\"kind\":\"\(SettingsFile.kind)\""]
        return "{\((head + members).joined(separator: ","))}"
    }
}

extension Settings {
    /// The settings in JSON, as `/configz` tells them: by the name of their group, as kube-proxy does.
    public var configz: String { "{\"needletail.io\":\(OwnFormat.json(self))}\n" }

    /// The settings as a file of Needletail's own kind, which reads back as the same.
    public var fileText: String { OwnFormat.text(self) }
}

extension Setting {
    /// The part of the key before the dot.
    var group: String? {
        let parts = key.split(separator: ".")
        return parts.count == 2 ? String(parts[0]) : nil
    }

    fileprivate func yaml(_ text: String) -> String {
        switch shape {
        case .boolean: text
        case .number, .duration: Double(text) == nil ? Self.quoted(text) : text
        case .text: Self.quoted(text)
        case .list: "[\(text.split(separator: ",").map { Self.quoted(String($0)) }.joined(separator: ", "))]"
        }
    }

    /// In double quotes, with what YAML wants escaped.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.properties.generalCategory == .control || (0x2028...0x2029).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension Cursor {
    /// What the value here does to a setting, if it has the setting's shape.
    func override(_ setting: Setting) throws(ManifestProblem) -> Override {
        let text = try text(setting.shape)
        do {
            return try setting.assigning(text)
        } catch {
            throw problem("\(error)")
        }
    }

    private func text(_ shape: SettingShape) throws(ManifestProblem) -> String {
        switch shape {
        case .text: try string()
        case .boolean: "\(try boolean())"
        case .number: try numberText()
        case .duration: try durationText()
        case .list: try listText()
        }
    }

    private func durationText() throws(ManifestProblem) -> String {
        if let text = try? string() { return text }
        return "\(try integer())"
    }

    /// A number as it was written, or a text that takes its place (`auto`).
    private func numberText() throws(ManifestProblem) -> String {
        if let text = try? string() { return text }
        let number = try number()
        return Int(exactly: number).map(String.init) ?? "\(number)"
    }

    /// Texts of a list with commas between them, or one text.
    func listText() throws(ManifestProblem) -> String {
        if let text = try? string() { return text }
        var texts: [String] = []
        for element in try elements() { texts.append(try element.string()) }
        return texts.joined(separator: ",")
    }
}
