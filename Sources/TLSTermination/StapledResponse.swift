// OCSP stapling (RFC 6066 section 8): a response from a file, checked to be about the certificate before it is
// sent to anybody. Fetching it is left to others: a load balancer should not need the way out.

import Balancing
import COpenSSL
import Glibc

/// The DER of a response that says "good" about `leaf`.
///
/// With the issuer at hand, the response must name it too; without, the serial number must match.
func readStaple(
    _ file: String, for leaf: OpaquePointer, issuer: OpaquePointer?
) throws(TLSConfigurationError) -> [UInt8] {
    let der = try readFile(file, byteCountMax: Limits.certificateFileByteCountMax)
    let response = unsafe der.withUnsafeBufferPointer { buffer in
        var start = buffer.baseAddress
        return unsafe d2i_OCSP_RESPONSE(nil, &start, buffer.count)
    }
    guard let response = unsafe response else {
        throw .badStaple(file: file, detail: "it is not DER of an OCSP response (\(takeErrorText()))")
    }
    defer { unsafe OCSP_RESPONSE_free(response) }
    let status = unsafe OCSP_response_status(response)
    guard status == OCSP_RESPONSE_STATUS_SUCCESSFUL else {
        throw .badStaple(
            file: file,
            detail: unsafe "the responder said \(String(cString: OCSP_response_status_str(Int(status))))")
    }
    guard let basic = unsafe OCSP_response_get1_basic(response) else {
        throw .badStaple(file: file, detail: takeErrorText())
    }
    defer { unsafe OCSP_BASICRESP_free(basic) }
    for index in 0..<max(0, unsafe OCSP_resp_count(basic)) {
        guard let single = unsafe OCSP_resp_get0(basic, index),
            unsafe isAbout(leaf, issuer: issuer, single)
        else { continue }
        try unsafe checkStatus(of: single, file: file)
        return der
    }
    throw .badStaple(file: file, detail: "it is about another certificate")
}

private func isAbout(_ leaf: OpaquePointer, issuer: OpaquePointer?, _ single: OpaquePointer) -> Bool {
    let id = unsafe OCSP_SINGLERESP_get0_id(single)
    guard let id = unsafe id else { return false }
    var serial: UnsafeMutablePointer<ASN1_INTEGER>?
    var digest: OpaquePointer?
    unsafe OCSP_id_get0_info(nil, &digest, nil, &serial, id)
    guard unsafe ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0 else { return false }
    guard let issuer = unsafe issuer else { return true }
    // The same digest as the responder's, or the two could never be equal.
    let method = unsafe EVP_get_digestbyname(OBJ_nid2sn(OBJ_obj2nid(digest)))
    guard let expected = unsafe OCSP_cert_to_id(method, leaf, issuer) else {
        clearErrors()
        return false
    }
    defer { unsafe OCSP_CERTID_free(expected) }
    return unsafe OCSP_id_cmp(expected, id) == 0
}

private func checkStatus(of single: OpaquePointer, file: String) throws(TLSConfigurationError) {
    var nextUpdate: UnsafeMutablePointer<ASN1_TIME>?
    var reason: Int32 = 0
    let status = unsafe OCSP_single_get0_status(single, &reason, nil, nil, &nextUpdate)
    guard status == V_OCSP_CERTSTATUS_GOOD else {
        throw .badStaple(
            file: file,
            detail: unsafe "it says \(String(cString: OCSP_cert_status_str(Int(status)))), not good")
    }
    // Clients refuse a stale response, some of them the whole connection.
    if unsafe nextUpdate != nil, unsafe X509_cmp_current_time(nextUpdate) < 0 {
        throw .badStaple(file: file, detail: "it is out of date")
    }
}
