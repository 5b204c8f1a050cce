// Why a client's certificate was refused, in the classes that ELBv2's connection logs have.

import COpenSSL

package enum CertificateRefusal: Hashable, Sendable, BitwiseCopyable {
    case chainTooDeep
    case revoked
    /// Whether it is revoked could not be told.
    case revocationListUnusable
    case untrusted
    case notYetValid
    case expired
    case purposeInvalid
    case rejected
    /// Its key or its signature is weaker than the policy allows.
    case incompatible
    case invalid
    /// More bytes than `Limits.clientChainByteCountMax`.
    case tooLarge

    /// - Parameter code: One of X509_verify_cert_error_string(3).
    init(code: Int32) {
        switch code {
        case X509_V_ERR_CERT_CHAIN_TOO_LONG, X509_V_ERR_PATH_LENGTH_EXCEEDED: self = .chainTooDeep
        case X509_V_ERR_CERT_REVOKED: self = .revoked
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
            X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_HAS_EXPIRED,
            X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD, X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD,
            X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
            X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
            self = .revocationListUnusable
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_CERT_UNTRUSTED:
            self = .untrusted
        case X509_V_ERR_CERT_NOT_YET_VALID: self = .notYetValid
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .expired
        case X509_V_ERR_INVALID_PURPOSE: self = .purposeInvalid
        case X509_V_ERR_CERT_REJECTED: self = .rejected
        case X509_V_ERR_EE_KEY_TOO_SMALL, X509_V_ERR_CA_KEY_TOO_SMALL, X509_V_ERR_CA_MD_TOO_WEAK:
            self = .incompatible
        default: self = .invalid
        }
    }
}

extension TLSFailure {
    /// Nil when the other side's certificate was not the reason.
    package var certificateRefusal: CertificateRefusal? {
        switch self {
        case .certificateRefused(let code): CertificateRefusal(code: code)
        case .certificateTooLarge: .tooLarge
        default: nil
        }
    }
}
