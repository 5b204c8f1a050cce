// Giving up what the appliance does not need; see capabilities(7).
//
// Capabilities belong to threads. All this runs on the only thread, before workers and the runtime's pool
// exist: threads made later inherit what is left.

import CCapability
import CLinux
import Glibc

/// Who a process becomes.
public struct UserIdentity: Sendable, Equatable {
    public let name: String
    public let uid: UInt32
    public let gid: UInt32

    /// Reads `USER` or `USER:GROUP` from the system's databases; nil when either is unknown.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        guard let user = parts.first else { return nil }
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        guard unsafe weir_find_user(user, &uid, &gid) == 0 else { return nil }
        if parts.count == 2 {
            guard unsafe weir_find_group(parts[1], &gid) == 0 else { return nil }
        }
        name = user
        self.uid = uid
        self.gid = gid
    }

    /// The user of this process.
    public static var currentUID: UInt32 { geteuid() }
}

public enum Privileges {
    /// Keeps CAP_NET_BIND_SERVICE where the process has it, drops every other capability for good, forbids
    /// gaining new ones (no_new_privs), and becomes `user` when given.
    ///
    /// - Parameter keepsNetAdmin: CAP_NET_ADMIN is kept too, which IP_TRANSPARENT needs; see ip(7).
    /// - Returns: Whether the process has CAP_NET_ADMIN from now on.
    public static func reduce(
        becoming user: UserIdentity?, keepsNetAdmin: Bool = false
    ) throws(SystemCallError) -> Bool {
        let wanted = [CAP_NET_BIND_SERVICE] + (keepsNetAdmin ? [CAP_NET_ADMIN] : [])
        let kept = wanted.filter(isPermitted)
        // Without CAP_SETPCAP the bounding set stays, which no_new_privs makes harmless.
        for capability in 0...63 where !wanted.contains(Int32(capability)) {
            _ = weir_drop_bounding_capability(Int32(capability))
        }
        if let user, user.uid != UserIdentity.currentUID {
            // Changing away from root would clear the permitted set; see prctl(2), PR_SET_KEEPCAPS.
            _ = try check(weir_keep_capabilities(true), "prctl(PR_SET_KEEPCAPS)")
            _ = try check(unsafe weir_become_user(user.name, user.uid, user.gid), "setresuid")
        }
        try setOnly(kept)
        _ = try check(weir_no_new_privileges(), "prctl(PR_SET_NO_NEW_PRIVS)")
        return kept.contains(CAP_NET_ADMIN)
    }

    private static func isPermitted(_ capability: Int32) -> Bool {
        guard let state = unsafe cap_get_proc() else { return false }
        defer { _ = unsafe cap_free(UnsafeMutableRawPointer(state)) }
        var value = CAP_CLEAR
        return unsafe cap_get_flag(state, capability, CAP_PERMITTED, &value) == 0 && value == CAP_SET
    }

    /// Makes the permitted and effective sets exactly these and the inheritable set empty.
    private static func setOnly(_ capabilities: [Int32]) throws(SystemCallError) {
        guard let state = unsafe cap_init() else { throw SystemCallError("cap_init", Errno(errno)) }
        defer { _ = unsafe cap_free(UnsafeMutableRawPointer(state)) }
        for capability in capabilities {
            var value = capability
            guard unsafe cap_set_flag(state, CAP_PERMITTED, 1, &value, CAP_SET) == 0,
                unsafe cap_set_flag(state, CAP_EFFECTIVE, 1, &value, CAP_SET) == 0
            else { throw SystemCallError("cap_set_flag", Errno(errno)) }
        }
        guard unsafe cap_set_proc(state) == 0 else { throw SystemCallError("cap_set_proc", Errno(errno)) }
    }
}
