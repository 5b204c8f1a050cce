// The configuration file as values.
//
// Parsing is a pure function of the text: it opens nothing and knows nothing of the running state, so
// `weir check` says exactly what `weir apply` would say of the file alone. All errors come at once.

import Balancing

/// A target group as the file names it.
package struct ConfiguredTargetGroup: Sendable, Equatable {
    package var group: TargetGroup
    /// Nil when the file does not list targets: those registered at runtime then stay.
    package var targets: [Target]?

    package init(group: TargetGroup, targets: [Target]?) {
        self.group = group
        self.targets = targets
    }
}

package struct Configuration: Sendable, Equatable {
    package var settings: ApplianceSettings
    /// The keys of the settings that the file names, for instance `admin.listen`.
    package var namedSettings: Set<String>
    package var targetGroups: [ConfiguredTargetGroup]
    package var loadBalancers: [LoadBalancer]
    /// Load balancers whose listeners the file does not list: those created at runtime then stay.
    package var unlistedListeners: Set<String> = []
    /// Listeners whose rules the file does not list: those created at runtime then stay.
    package var unlistedRules: Set<ListenerID> = []
    package var fileName = "configuration"
    /// The line that first names a file of TLS, for what is found wrong in the file.
    package var fileLines: [String: Int] = [:]

    package init(
        settings: ApplianceSettings = ApplianceSettings(), namedSettings: Set<String> = [],
        targetGroups: [ConfiguredTargetGroup] = [], loadBalancers: [LoadBalancer] = []
    ) {
        self.settings = settings
        self.namedSettings = namedSettings
        self.targetGroups = targetGroups
        self.loadBalancers = loadBalancers
    }

    /// Reads and validates the text of a configuration file.
    ///
    /// - Parameter fileName: Stands before the line number in every error.
    package static func parse(
        _ yaml: String, fileName: String = "configuration"
    ) throws(ConfigurationErrors) -> Configuration {
        let root = try ConfigurationDocument.compose(yaml, fileName: fileName)
        var reader = ConfigurationReader(fileName: fileName)
        let configuration = reader.readConfiguration(root)
        guard reader.problems.isEmpty else { throw reader.errors }
        return configuration
    }
}

extension ConfigurationReader {
    static let topLevelKeys =
        settingKeys + ["target_groups", "load_balancers"]

    mutating func readConfiguration(_ root: ConfigurationDocument.Root) -> Configuration {
        var configuration = Configuration()
        configuration.fileName = fileName
        guard let top = scope(of: root.node, subject: "", prefix: "", path: "", keys: Self.topLevelKeys)
        else { return configuration }
        readSettings(top, into: &configuration)
        let groups = readTargetGroups(top)
        let loadBalancers = readLoadBalancers(top)
        checkReferences(of: loadBalancers, to: groups)
        configuration.targetGroups = groups.map(\.value)
        configuration.loadBalancers = loadBalancers.map(\.value)
        configuration.fileLines = fileLines
        configuration.unlistedListeners = unlistedListeners
        configuration.unlistedRules = unlistedRules
        return configuration
    }
}
