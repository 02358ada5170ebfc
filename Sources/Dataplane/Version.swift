/// The release of which all programs of this package are.
public enum NeedletailVersion {
    /// As semantic versioning writes it.
    public static let current = "0.1.0"
}
