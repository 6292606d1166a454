// Package stanza is the only one that knows XML. It reads an XMPP stream
// stanza by stanza with a strict tokenizer of its own (RFC 6120, section 11:
// no DTD, no comments, no processing instructions, five entities), and writes
// stanzas by appending to byte slices.
//
// What is inside a stanza is kept as canonical XML: bytes that mean the same
// in any stream whose content namespace is jabber:client, so that they can
// be stored in an event and sent on unchanged years later. In canonical XML
//
//   - no element has a prefix; an element declares its namespace where it
//     differs from its parent's, jabber:client being the outermost;
//   - an attribute with a prefix other than xml declares it on its own element;
//   - attribute values stand in single quotes, and <, >, & and ' are escaped
//     wherever they could be mistaken for markup: a < always opens a tag and
//     a > always closes one;
//   - an empty element is written <x/>, CDATA as text.
package stanza

// Kind is the kind of a stream-level element.
type Kind uint8

// The three stanzas (RFC 6120, section 8), and Other for every other element
// of the stream level, such as SASL's.
const (
	Other Kind = iota
	Message
	Presence
	IQ
)

// String gives the element's local name, "other" for Other.
func (k Kind) String() string {
	switch k {
	case Message:
		return "message"
	case Presence:
		return "presence"
	case IQ:
		return "iq"
	}
	return "other"
}

// Header is the attributes that all stanzas have (RFC 6120, section 8.1).
// An empty field is an absent attribute.
type Header struct {
	To   string
	From string
	ID   string
	Type string
	Lang string // xml:lang
}

// Stanza is one element of the stream level as it was read. It shares no
// memory with the Reader.
type Stanza struct {
	Kind  Kind
	Space string // namespace
	Local string // local name
	// Header's Lang is the stream's where the stanza has none of its own.
	Header
	// Attrs holds the attributes that Header does not; nil for most stanzas.
	Attrs []Attr
	// Inner is what is between the tags, as canonical XML; nil if nothing.
	Inner []byte
}

// Is tells whether the element has this name.
func (s *Stanza) Is(space, local string) bool { return s.Local == local && s.Space == space }

// Foreign tells whether the element is a stanza of another content namespace
// than the stream's, such as a server's (RFC 6120, section 4.8.2).
func (s *Stanza) Foreign() bool {
	switch s.Local {
	case "message", "presence", "iq":
		return s.Kind == Other
	}
	return false
}

// Attr gives the value of an attribute that is not in Header, "" if absent.
func (s *Stanza) Attr(local string) string { return findAttr(s.Attrs, "", local) }

// Text gives the character data directly inside the element.
func (s *Stanza) Text() string { return innerText(s.Inner) }

// Reader reads the stream of one peer. One goroutine at a time may call it.
// A *StreamError tells what must be sent to the peer before its stream is
// closed; any other error comes from below.
type Reader interface {
	// Open reads the XML declaration, if any, and the stream header.
	Open() (StreamHeader, error)
	// Next reads the next element of the stream level. It returns
	// ErrStreamClosed for the closing stream tag, and io.EOF where the
	// bytes end between two elements without one. An error that comes
	// while nothing of an element was read, such as a deadline, leaves the
	// Reader usable; any other error comes again on each later call.
	Next() (*Stanza, error)
	// Restart makes the Reader expect a new stream header.
	Restart()
	// Buffered gives the bytes that were read and not yet used, until the next
	// call.
	Buffered() []byte
	// SetLimits takes effect with the next element.
	SetLimits(Limits)
}

// StreamHeader is the opening tag of a stream (RFC 6120, section 4.7).
type StreamHeader struct {
	To, From string
	ID       string
	Version  string
	Lang     string
	Space    string // namespace of the root element, always NSStreams
	Content  string // content namespace
}

// Limits bound what one element of the stream level may be. What exceeds
// them is a policy-violation.
type Limits struct {
	Bytes int // size on the wire; 64 KiB
	Depth int // open elements, the outermost included; 64
	Attrs int // attributes of one element, declarations included; 64
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 64 << 10
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Attrs == 0 {
		l.Attrs = 64
	}
	return l
}
