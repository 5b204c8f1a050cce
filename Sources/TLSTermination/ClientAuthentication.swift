// Certificates of clients: mutual TLS, as ELBv2 names its modes.

import Balancing
import COpenSSL

/// What a listener asks of its clients.
package enum ClientAuthentication: Hashable, Sendable {
    case off
    /// A certificate is asked for and handed on, whoever issued it; coming without one is fine.
    case passthrough
    /// A certificate is demanded and must lead to one of the CA bundle.
    case verify(TrustStore)
}

/// Whom to trust.
package struct TrustStore: Hashable, Sendable {
    /// PEM.
    package let authorities: String
    /// PEM, any number of lists a file. With any, the client's own certificate needs a list of its issuer;
    /// certificates of authorities between are checked where there is a list.
    package let revocationLists: [String]
    /// `ignore_client_certificate_expiry` of ELBv2.
    package let ignoresExpiry: Bool
    /// Whether a server tells its clients the names of the authorities; `AdvertiseTrustStoreCaNames` of ELBv2.
    package let advertisesNames: Bool

    package init(
        authorities: String, revocationLists: [String] = [], ignoresExpiry: Bool = false,
        advertisesNames: Bool = true
    ) {
        self.authorities = authorities
        self.revocationLists = revocationLists
        self.ignoresExpiry = ignoresExpiry
        self.advertisesNames = advertisesNames
    }
}

extension TrustStore {
    /// Sets what `context` verifies with. `names` are those that a server tells its clients it trusts.
    func install(in context: OpaquePointer, announcing: Bool) throws(TLSConfigurationError) {
        let store = unsafe SSL_CTX_get_cert_store(context)
        let certificates = unsafe try readAuthorities(authorities)
        defer { unsafe weir_certificates_free(certificates) }
        let names = unsafe announcing ? weir_names_new() : nil
        for index in unsafe 0..<weir_certificates_count(certificates) {
            let certificate = unsafe weir_certificates_at(certificates, index)
            guard unsafe X509_STORE_add_cert(store, certificate) == 1 else {
                throw .badAuthorities(file: authorities, detail: takeErrorText())
            }
            if unsafe names != nil { _ = unsafe weir_names_push(names, X509_get_subject_name(certificate)) }
        }
        // The context owns the names from now on.
        if unsafe names != nil { unsafe SSL_CTX_set_client_CA_list(context, names) }
        // Also where the policy admits TLS 1.0, whose security level would let forgeable signatures pass.
        unsafe X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(context), 2)
        for file in revocationLists { unsafe try addRevocationLists(file, to: store) }
        if !revocationLists.isEmpty {
            _ = unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
        }
    }

    private func addRevocationLists(_ file: String, to store: OpaquePointer?) throws(TLSConfigurationError) {
        let pem = try readFile(file, byteCountMax: Limits.authorityFileByteCountMax)
        unsafe try withMemory(pem) { (bio) throws(TLSConfigurationError) in
            var count = 0
            while let list = unsafe PEM_read_bio_X509_CRL(bio, nil, nil, nil) {
                defer { unsafe X509_CRL_free(list) }
                guard unsafe X509_STORE_add_crl(store, list) == 1 else {
                    throw .badRevocationList(file: file, detail: takeErrorText())
                }
                count += 1
            }
            let isAtEnd = ERR_peek_last_error() & 0x7F_FFFF == UInt(PEM_R_NO_START_LINE)
            guard isAtEnd, count > 0 else {
                throw .badRevocationList(file: file, detail: takeErrorText())
            }
            ERR_clear_error()
        }
    }

    /// The callback that judges each certificate of a chain; see SSL_CTX_set_verify(3).
    var judge: @convention(c) (Int32, OpaquePointer?) -> Int32 {
        unsafe ignoresExpiry ? judgeIgnoringExpiry : judgeStrictly
    }
}

private func judgeStrictly(_ isGood: Int32, _ store: OpaquePointer?) -> Int32 {
    guard isGood == 0 else { return 1 }
    // Few authorities publish a list of revoked authorities; one that does is obeyed.
    let isMissingList = unsafe X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL
    guard isMissingList, unsafe X509_STORE_CTX_get_error_depth(store) > 0 else { return 0 }
    unsafe X509_STORE_CTX_set_error(store, X509_V_OK)
    return 1
}

private func judgeIgnoringExpiry(_ isGood: Int32, _ store: OpaquePointer?) -> Int32 {
    guard isGood == 0 else { return 1 }
    if unsafe X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_HAS_EXPIRED {
        unsafe X509_STORE_CTX_set_error(store, X509_V_OK)
        return 1
    }
    return unsafe judgeStrictly(isGood, store)
}

/// Takes any certificate: what it is worth is for the target to say.
func judgeNothing(_ isGood: Int32, _ store: OpaquePointer?) -> Int32 {
    unsafe X509_STORE_CTX_set_error(store, X509_V_OK)
    return 1
}
