// The admin address of a configuration file as the server and the command line spell it.

import AdminModel
import ControlPlane

extension AdminAddress {
    package init(_ configured: ApplianceSettings.AdminAddress) {
        switch configured {
        case .network(let endpoint):
            self = .tcp(host: endpoint.address.description, port: Int(endpoint.port))
        case .unix(let path):
            self = .unix(path: path)
        }
    }
}
