// What survives a restart: everything that was configured or registered, nothing that was observed.

import Balancing

/// A target group with the targets that take or may take flows; draining ones are gone from here already.
package struct StoredGroup: Sendable, Equatable {
    package var group: TargetGroup
    package var targets: [Target]

    package init(group: TargetGroup, targets: [Target]) {
        self.group = group
        self.targets = targets
    }
}

package struct StoredState: Sendable, Equatable {
    /// In the order of creation, as all lists show them.
    package var groups: [StoredGroup]
    package var loadBalancers: [LoadBalancer]

    package init(groups: [StoredGroup] = [], loadBalancers: [LoadBalancer] = []) {
        self.groups = groups
        self.loadBalancers = loadBalancers
    }

    /// Whether any group has `preserve_client_ip.enabled`, for which a process must keep CAP_NET_ADMIN.
    package var preservesClientIP: Bool { groups.contains { $0.group.attributes.preservesClientIP } }
}
