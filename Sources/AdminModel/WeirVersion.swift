// The version that `weir --version`, the status report and the metrics show.

package enum WeirVersion {
    package static let current = "0.1.0"
}
