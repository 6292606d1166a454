package stanza

// StreamCondition is a condition of a stream error (RFC 6120, section 4.9.3).
type StreamCondition string

// All conditions of RFC 6120, section 4.9.3.
const (
	BadFormat              StreamCondition = "bad-format"
	BadNamespacePrefix     StreamCondition = "bad-namespace-prefix"
	StreamConflict         StreamCondition = "conflict"
	ConnectionTimeout      StreamCondition = "connection-timeout"
	HostGone               StreamCondition = "host-gone"
	HostUnknown            StreamCondition = "host-unknown"
	ImproperAddressing     StreamCondition = "improper-addressing"
	StreamInternalError    StreamCondition = "internal-server-error"
	InvalidFrom            StreamCondition = "invalid-from"
	InvalidNamespace       StreamCondition = "invalid-namespace"
	InvalidXML             StreamCondition = "invalid-xml"
	StreamNotAuthorized    StreamCondition = "not-authorized"
	NotWellFormed          StreamCondition = "not-well-formed"
	PolicyViolation        StreamCondition = "policy-violation"
	RemoteConnectionFailed StreamCondition = "remote-connection-failed"
	Reset                  StreamCondition = "reset"
	StreamConstraint       StreamCondition = "resource-constraint"
	RestrictedXML          StreamCondition = "restricted-xml"
	SeeOtherHost           StreamCondition = "see-other-host"
	SystemShutdown         StreamCondition = "system-shutdown"
	StreamUndefined        StreamCondition = "undefined-condition"
	UnsupportedEncoding    StreamCondition = "unsupported-encoding"
	UnsupportedFeature     StreamCondition = "unsupported-feature"
	UnsupportedStanzaType  StreamCondition = "unsupported-stanza-type"
	UnsupportedVersion     StreamCondition = "unsupported-version"
)

// StreamError is an error that ends a stream (RFC 6120, section 4.9).
type StreamError struct {
	Condition StreamCondition
	Text      string // for people; may be empty
	Host      string // where to go; of see-other-host alone
	App       []byte // application-specific condition as canonical XML; may be nil
}

// Error implements error.
func (e *StreamError) Error() string {
	if e.Text == "" {
		return "stream error: " + string(e.Condition)
	}
	return "stream error: " + string(e.Condition) + ": " + e.Text
}

// AppendTo appends <stream:error>. It does not close the stream.
func (e *StreamError) AppendTo(dst []byte) []byte {
	dst = append(dst, "<stream:error><"...)
	dst = append(dst, e.Condition...)
	dst = append(dst, " xmlns='"+NSStreamErr+"'"...)
	if e.Condition == SeeOtherHost && e.Host != "" {
		dst = append(dst, '>')
		dst = AppendText(dst, e.Host)
		dst = append(dst, "</"...)
		dst = append(dst, e.Condition...)
		dst = append(dst, '>')
	} else {
		dst = append(dst, "/>"...)
	}
	if e.Text != "" {
		dst = append(dst, "<text xmlns='"+NSStreamErr+"' xml:lang='en'>"...)
		dst = AppendText(dst, e.Text)
		dst = append(dst, "</text>"...)
	}
	dst = append(dst, e.App...)
	return append(dst, "</stream:error>"...)
}

// StreamEnd closes a stream that was opened with AppendStreamHeader.
const StreamEnd = "</stream:stream>"

// AppendStreamHeader appends the XML declaration and a stream header whose
// content namespace is jabber:client.
func AppendStreamHeader(dst []byte, h StreamHeader) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream"...)
	dst = AppendAttr(dst, "from", h.From)
	dst = AppendAttr(dst, "to", h.To)
	dst = AppendAttr(dst, "id", h.ID)
	dst = AppendAttr(dst, "version", h.Version)
	dst = AppendAttr(dst, "xml:lang", h.Lang)
	return append(dst, " xmlns='"+NSClient+"' xmlns:stream='"+NSStreams+"'>"...)
}

func notWellFormed(text string) error {
	return &StreamError{Condition: NotWellFormed, Text: text}
}

func restricted(text string) error {
	return &StreamError{Condition: RestrictedXML, Text: text}
}

func violation(text string) error {
	return &StreamError{Condition: PolicyViolation, Text: text}
}
