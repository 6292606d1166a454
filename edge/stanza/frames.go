package stanza

import (
	"bytes"
	"errors"
	"io"
)

// A stream over WebSocket is framed (RFC 7395): each message is one element
// that can be read by itself, and <open/> and <close/> stand for the stream's
// opening and closing tags. AppendFrame makes such messages of what is
// written to a stream, an Unframer makes a stream of such messages, so that
// all else knows one kind of stream only.

// FrameKind tells what AppendFrame made.
type FrameKind uint8

// The kinds of frames.
const (
	FrameNone    FrameKind = iota // white space, which has no frame
	FrameElement                  // a stanza or another element of the stream level
	FrameOpen                     // <open/>
	FrameClose                    // <close/>
)

const framedEnd = "<close xmlns='" + NSFraming + "'/>"

// AppendFrame cuts the first thing off b, which is what is written to a
// stream, and appends it as a frame: with all namespaces declared that it
// has from the stream (RFC 7395, section 3.3.3). b is canonical XML, begins
// where an element does and holds whole elements; anything else is an error.
func AppendFrame(dst, b []byte) (frame []byte, kind FrameKind, rest []byte, err error) {
	if bytes.HasPrefix(b, []byte("<?")) {
		_, after, ok := bytes.Cut(b, []byte("?>"))
		if !ok {
			return dst, FrameNone, b, errCanonical
		}
		b = after
	}
	switch {
	case len(b) == 0:
		return dst, FrameNone, nil, errCanonical
	case class[b[0]]&cSpace != 0:
		return dst, FrameNone, bytes.TrimLeft(b, " \t\r\n"), nil
	case bytes.HasPrefix(b, []byte(StreamEnd)):
		return append(dst, framedEnd...), FrameClose, b[len(StreamEnd):], nil
	case bytes.HasPrefix(b, []byte("<stream:stream ")):
		end := bytes.IndexByte(b, '>')
		if end < 0 {
			return dst, FrameNone, b, errCanonical
		}
		dst = append(dst, "<open xmlns='"+NSFraming+"'"...)
		for name, value := range rawAttrs(b[1:end]) {
			if !bytes.HasPrefix(name, []byte("xmlns")) {
				dst = append(append(dst, ' '), name...)
				dst = append(append(append(dst, "='"...), value...), '\'')
			}
		}
		return append(dst, "/>"...), FrameOpen, b[end+1:], nil
	}
	before, c, rest, ok := cutChild(b)
	if !ok || len(before) > 0 {
		return dst, FrameNone, b, errCanonical
	}
	name := c.name()
	dst = append(append(dst, '<'), name...)
	if _, declared := rawAttr(c.start, "xmlns"); !declared {
		dst = append(dst, " xmlns='"+NSClient+"'"...)
	}
	if bytes.HasPrefix(name, []byte("stream:")) {
		dst = append(dst, " xmlns:stream='"+NSStreams+"'"...)
	}
	return append(dst, c.Raw[1+len(name):]...), FrameElement, rest, nil
}

// maxFramedHeader bounds <open/> and <close/>, in bytes.
const maxFramedHeader = 4096

// Unframer makes of a peer's messages what the peer would send on a stream
// over TCP. It sees to it that a message is one element; whether that is well
// formed is for the Reader behind it to say. An element without a namespace
// is taken as one of jabber:client, as on a stream. Its errors are
// *StreamErrors, after which it is of no more use.
type Unframer struct {
	// Restart lets the next <open/> begin the stream anew, as the first does.
	Restart bool

	state  frameState
	depth  int    // open elements
	quote  byte   // that ends the attribute value
	match  int    // bytes of <![CDATA[ or ]]> that were seen
	held   []byte // of the message, until it is known what it is
	opened bool
	closed bool
	stated bool // the message began with an XML declaration
}

type frameState uint8

const (
	frameHead    frameState = iota // the name of the element is not known yet
	frameHeader                    // in <open/> or <close/>
	frameText                      // between tags, in the element
	frameLess                      // after a <
	frameTag                       // in a start tag
	frameSlash                     // after a / there
	frameQuote                     // in an attribute's value
	frameEndTag                    // in an end tag
	frameBang                      // in what should be <![CDATA[
	frameCDATA                     // in there
	frameDone                      // after the element
	frameRefused                   // after what no Reader takes
)

// Opened tells whether the stream was opened.
func (u *Unframer) Opened() bool { return u.opened }

// Closed tells whether the stream was closed by <close/>.
func (u *Unframer) Closed() bool { return u.closed }

// Begin is called before each message.
func (u *Unframer) Begin() {
	u.state, u.depth, u.held, u.stated = frameHead, 0, u.held[:0], false
}

// Feed takes the next bytes of a message, and gives what they mean on a
// stream: bytes that are valid until the next call, also beside an error.
func (u *Unframer) Feed(b []byte) ([]byte, error) {
	switch u.state {
	case frameHead:
		u.held = append(u.held, b...)
		known, err := u.head()
		if err != nil || !known || u.state == frameHeader {
			return nil, err
		}
		return u.scan(u.held)
	case frameHeader:
		if u.held = append(u.held, b...); len(u.held) > maxFramedHeader {
			return nil, violation("stream header too large")
		}
		return nil, nil
	}
	return u.scan(b)
}

// End is called after each message.
func (u *Unframer) End() ([]byte, error) {
	switch u.state {
	case frameHeader:
		return u.header()
	case frameDone, frameRefused:
		return nil, nil
	case frameHead:
		if len(u.held) == 0 {
			return nil, badFrame("an empty message")
		}
	}
	return nil, notWellFormed("a message that ends within its element")
}

func badFrame(text string) error { return &StreamError{Condition: BadFormat, Text: text} }

// head finds out what the message is.
func (u *Unframer) head() (known bool, err error) {
	if u.stated {
		u.held = bytes.TrimLeft(u.held, " \t\r\n")
	}
	b := u.held
	if len(b) > 0 && b[0] != '<' {
		return false, badFrame("a message must begin with <")
	}
	if len(b) < 2 {
		return false, nil
	}
	if b[1] == '?' {
		// An XML declaration is not recommended, and says nothing.
		const begin = "<?xml "
		end := bytes.Index(b, []byte("?>"))
		switch n := min(len(b), len(begin)); {
		case u.stated, string(b[:n]) != begin[:n]:
			return false, restricted("processing instruction")
		case end < 0 && len(b) < 128:
			return false, nil
		case end < 0 || end > 126:
			return false, notWellFormed("XML declaration")
		}
		u.held, u.stated = b[end+2:], true
		return u.head()
	}
	name := b[1:]
	if i := bytes.IndexAny(name, " \t\r\n/>"); i >= 0 {
		name = name[:i]
	} else if len(name) < 64 {
		return false, nil
	}
	switch _, local, found := bytes.Cut(name, []byte(":")); {
	case string(name) == "open", string(name) == "close", found && (string(local) == "open" || string(local) == "close"):
		if u.state = frameHeader; len(b) > maxFramedHeader {
			return false, violation("stream header too large")
		}
	case len(name) == 0 && b[1] == '/':
		return false, notWellFormed("end tag without a start tag")
	case !u.opened:
		return false, badFrame("the first message must be <open/>")
	default:
		u.state = frameText
	}
	return true, nil
}

// header translates <open/> or <close/>.
func (u *Unframer) header() ([]byte, error) {
	const around = "<stream:stream xmlns='" + NSClient + "' xmlns:stream='" + NSStreams + "'>"
	d := NewDecoder(io.MultiReader(bytes.NewReader([]byte(around)), bytes.NewReader(u.held)), Limits{})
	if _, err := d.Open(); err != nil {
		return nil, err
	}
	st, err := d.Next()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = notWellFormed("a message that ends within its element")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		return nil, badFrame("more than one element in a message")
	}
	switch {
	case st.Space != NSFraming: // RFC 7395, section 3.3.2
		return nil, &StreamError{Condition: InvalidNamespace, Text: "the namespace of <" + st.Local + "/> must be " + NSFraming}
	case st.Local == "open" && u.opened && !u.Restart:
		return nil, &StreamError{Condition: UnsupportedStanzaType, Text: "the stream is open"}
	case st.Local == "open":
		u.opened, u.Restart = true, false
		return AppendStreamHeader(nil, StreamHeader{To: st.To, From: st.From, ID: st.ID, Version: st.Attr("version"), Lang: st.Lang}), nil
	case !u.opened:
		return nil, badFrame("the first message must be <open/>")
	}
	u.closed = true
	return []byte(StreamEnd), nil
}

const cdataBegin, cdataEnd = "<![CDATA[", "]]>"

// scan follows the tags up to the end of the element. It need not know what
// is not well formed: the Reader reads the same bytes.
func (u *Unframer) scan(b []byte) ([]byte, error) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch u.state {
		case frameText:
			if c == '<' {
				u.state = frameLess
			}
		case frameLess:
			switch c {
			case '/':
				u.state = frameEndTag
			case '!':
				u.state, u.match = frameBang, 2
			case '?', '>':
				u.state = frameRefused
			default:
				u.state = frameTag
			}
		case frameTag, frameSlash:
			switch {
			case c == '>' && u.state == frameTag:
				u.depth++
				u.state = frameText
			case c == '>':
				u.ended()
			case c == '/':
				u.state = frameSlash
			case c == '\'' || c == '"':
				u.state, u.quote = frameQuote, c
			default:
				u.state = frameTag
			}
		case frameQuote:
			if c == u.quote {
				u.state = frameTag
			}
		case frameEndTag:
			if c == '>' {
				u.depth--
				u.ended()
			}
		case frameBang:
			if u.match < len(cdataBegin) && c == cdataBegin[u.match] {
				if u.match++; u.match == len(cdataBegin) {
					u.state, u.match = frameCDATA, 0
				}
			} else {
				u.state = frameRefused
			}
		case frameCDATA:
			switch {
			case u.match == 2 && c == ']': // a third ] may be the second of ]]>
			case c == cdataEnd[u.match]:
				if u.match++; u.match == len(cdataEnd) {
					u.state = frameText
				}
			default:
				u.match = 0
			}
		case frameDone:
			if c == '<' {
				return b[:i], badFrame("more than one element in a message")
			}
			if class[c]&cSpace == 0 {
				return b[:i], badFrame("text after the element of a message")
			}
		}
	}
	return b, nil
}

// ended is called at the end of each element.
func (u *Unframer) ended() {
	if u.state = frameText; u.depth == 0 {
		u.state = frameDone
	}
}
