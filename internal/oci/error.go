package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Codes of the OCI distribution spec 1.1, section "Error Codes", and three
// that registries use beyond it.
const (
	CodeBlobUnknown     = "BLOB_UNKNOWN"
	CodeDigestInvalid   = "DIGEST_INVALID"
	CodeManifestUnknown = "MANIFEST_UNKNOWN"
	CodeNameInvalid     = "NAME_INVALID"
	CodeNameUnknown     = "NAME_UNKNOWN"
	CodeUnauthorized    = "UNAUTHORIZED"
	CodeDenied          = "DENIED"
	CodeUnsupported     = "UNSUPPORTED"
	CodeTooManyRequests = "TOOMANYREQUESTS"

	CodeManifestInvalid = "MANIFEST_INVALID"
	CodeRangeInvalid    = "RANGE_INVALID"
	CodeUnavailable     = "UNAVAILABLE"

	// CodeUnreachable is of an upstream that another try will not reach either.
	CodeUnreachable = "UNREACHABLE"
	// CodeFileChanged is of a file that is no longer at its source as it was.
	CodeFileChanged = "FILE_CHANGED"
)

// Side names who failed.
type Side string

// The sides of a transfer.
const (
	SideClient    Side = "client"
	SideUpstream  Side = "upstream"
	SideSupernode Side = "supernode"
	SidePeer      Side = "peer"
	SideStore     Side = "store"
)

// Error is a failed request in terms of the distribution API. It keeps what a
// client needs to react: the status, the OCI code, and the challenges of a 401
// exactly as the upstream sent them.
type Error struct {
	Side    Side
	Status  int    // HTTP status for the client
	Code    string // OCI error code
	Message string // names the thing, the side and the next step

	// Challenges are the upstream's WWW-Authenticate values, unchanged.
	Challenges []string
	// RetryAfter is the upstream's Retry-After value; "" if it sent none.
	RetryAfter string
}

// Errorf makes an Error whose Message is formatted.
func Errorf(side Side, status int, code, format string, args ...any) *Error {
	return &Error{Side: side, Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	return string(e.Side) + ": " + e.Message + " (" + strconv.Itoa(e.Status) + " " + e.Code + ")"
}

// Temporary reports whether the same request may succeed later or elsewhere.
func (e *Error) Temporary() bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

type errorBody struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// WriteTo answers a request with the error, as the distribution spec wants it.
func (e *Error) WriteTo(w http.ResponseWriter, method string) {
	if e.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	body, err := json.Marshal(errorBody{Errors: []errorEntry{{Code: e.Code, Message: e.Message}}})
	if err != nil { // two strings always marshal
		body = []byte(`{"errors":[]}`)
	}
	h := w.Header()
	for _, c := range e.Challenges {
		h.Add("WWW-Authenticate", c)
	}
	if e.RetryAfter != "" {
		h.Set("Retry-After", e.RetryAfter)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	if method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// HasStatus reports whether err is an Error with that status.
func HasStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// maxErrorBody bounds what is read of an error's body, maxMessage what is kept.
const (
	maxErrorBody = 64 << 10
	maxMessage   = 1 << 10
)

// ParseErrorBody reads the first error of a registry's error body. Both are ""
// if there is none.
func ParseErrorBody(r io.Reader) (code, message string) {
	data, err := io.ReadAll(io.LimitReader(r, maxErrorBody))
	if err != nil {
		return "", ""
	}
	var body errorBody
	if json.Unmarshal(data, &body) != nil || len(body.Errors) == 0 {
		return "", ""
	}
	first := body.Errors[0]
	if len(first.Code) > 64 {
		first.Code = ""
	}
	return first.Code, strings.ToValidUTF8(first.Message[:min(len(first.Message), maxMessage)], "")
}
