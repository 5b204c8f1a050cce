// Answers that come from Weir itself: errors, redirects, fixed responses.

import Balancing

public enum OwnAnswer {
    /// Appends the status line and the fields that every answer of Weir's own has.
    public static func begin(_ statusCode: Int, date: DateText, into output: inout OutputBuffer) {
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(statusCode))
        output.append(" ")
        output.append(reason(of: statusCode))
        output.append("\r\nServer: weir\r\nDate: ")
        output.append(date.bytes.span)
        output.append("\r\n")
    }

    /// The usual words for a status; empty for one that has none, which RFC 9112 section 4 allows.
    public static func reason(of statusCode: Int) -> String {
        switch statusCode {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 410: "Gone"
        case 413: "Payload Too Large"
        case 414: "URI Too Long"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 463: "Bad Request"
        case 464: "Incompatible Protocol Versions"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }

    /// Appends a page that says what a status means, or counts its bytes.
    public static func pageByteCount(of statusCode: Int) -> Int {
        pagePrefix.utf8.count + pageMiddle.utf8.count + pageSuffix.utf8.count
            + 2 * (4 + reason(of: statusCode).utf8.count)
    }

    public static func appendPage(_ statusCode: Int, to output: inout OutputBuffer) {
        output.append(pagePrefix)
        appendTitle(statusCode, to: &output)
        output.append(pageMiddle)
        appendTitle(statusCode, to: &output)
        output.append(pageSuffix)
    }

    private static let pagePrefix: String = "<html>\r\n<head><title>"
    private static let pageMiddle: String = "</title></head>\r\n<body><h1>"
    private static let pageSuffix: String = "</h1></body>\r\n</html>\r\n"

    /// Three digits, a space, the words.
    private static func appendTitle(_ statusCode: Int, to output: inout OutputBuffer) {
        output.append(decimal: UInt64(statusCode))
        output.append(" ")
        output.append(reason(of: statusCode))
    }
}
