package stanza

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
)

// ErrStreamClosed tells that the peer closed its stream with </stream:stream>.
var ErrStreamClosed = errors.New("stanza: stream closed by peer")

const (
	smallBuffer = 512
	largeBuffer = 4096
	// scratch that has grown beyond this is not kept for others.
	maxKept = 128 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// Decoder is the Reader over an io.Reader. While no element is being read it
// holds 512 bytes of buffer and little else; what reading one needs is
// borrowed.
type Decoder struct {
	src    io.Reader
	limits Limits
	buf    []byte // small or large; what is in buf[pos:end] is unused
	pos    int
	end    int
	total  int64 // bytes read from src
	start  int64 // total at which the current element began
	small  [smallBuffer]byte
	large  *[largeBuffer]byte // borrowed, or nil

	alias string // content namespace that is read as jabber:client; empty: none

	opened bool
	again  bool      // it is not the first stream
	root   []byte    // qualified name of the stream's root
	scope  []binding // what the stream header declared
	lang   string
	err    error // every later call returns it
}

var _ Reader = (*Decoder)(nil)

// NewDecoder reads the stream of src. Zero limits stand for their defaults.
func NewDecoder(src io.Reader, l Limits) *Decoder {
	d := &Decoder{src: src, limits: l.withDefaults()}
	d.buf = d.small[:]
	return d
}

// binding ties a prefix ("" for the default) to a namespace.
type binding struct{ prefix, space string }

// attr is an attribute of the tag that is being read: ranges of scratch.val.
type attr struct {
	name, nameEnd   int
	value, valueEnd int
	colon           int // length of the prefix, -1 if none
}

// open is an element whose end tag has not come.
type open struct {
	name     int // where its qualified name begins in scratch.names
	bindings int // len(scratch.bindings) before it
	space    string
}

// scratch is what reading one element needs.
type scratch struct {
	val      []byte // names and values of one tag
	attrs    []attr
	names    []byte // qualified names of the open elements
	stack    []open
	bindings []binding
	out      []byte // canonical inner XML
	head     []byte // header values of the stanza
	tag      tag
	alias    string // see Decoder.alias
	pending  bool   // the last start tag in out still lacks its >
}

// tag is the start tag that was read last.
type tag struct {
	nameEnd int    // its qualified name is scratch.val[:nameEnd]
	local   int    // where the local part begins
	space   string // resolved namespace
	empty   bool   // <x/>
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.val)+cap(s.out)+cap(s.names) > maxKept {
		return
	}
	clear(s.bindings)
	clear(s.stack)
	s.val, s.attrs, s.names, s.stack = s.val[:0], s.attrs[:0], s.names[:0], s.stack[:0]
	s.bindings, s.out, s.head, s.pending, s.tag = s.bindings[:0], s.out[:0], s.head[:0], false, tag{}
	s.alias = ""
	scratches.Put(s)
}

// resize is called when the buffer is empty. A read that filled the small
// buffer asks for a large one; between elements the large one is given back.
func (d *Decoder) resize() {
	if d.large == nil && d.end == len(d.buf) && d.end > 0 {
		d.large = largeBuffers.Get().(*[largeBuffer]byte)
		d.buf = d.large[:]
	} else if d.large != nil && (d.idle() || d.end < smallBuffer) {
		largeBuffers.Put(d.large)
		d.large, d.buf = nil, d.small[:]
	}
	d.pos, d.end = 0, 0
}

// idle tells that nothing of an element has been taken and that the last
// read did not fill the large buffer.
func (d *Decoder) idle() bool { return d.used() == 0 && d.end < largeBuffer }

// Restart implements Reader.
func (d *Decoder) Restart() {
	d.opened, d.scope, d.root, d.lang, d.again = false, nil, nil, "", true
}

// Buffered implements Reader.
func (d *Decoder) Buffered() []byte { return d.buf[d.pos:d.end] }

// SetLimits implements Reader.
func (d *Decoder) SetLimits(l Limits) { d.limits = l.withDefaults() }

// Open implements Reader.
func (d *Decoder) Open() (StreamHeader, error) {
	if d.err != nil {
		return StreamHeader{}, d.err
	}
	h, err := d.open()
	if err != nil {
		d.err = err
	}
	return h, err
}

func (d *Decoder) open() (h StreamHeader, err error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	s.alias = d.alias
	d.mark()
	if _, err = d.space(); err != nil {
		return h, err
	}
	white := d.used() > 0
	if err = d.expect("<", notWellFormed); err != nil {
		return h, midway(err)
	}
	c, err := d.peek()
	if err == nil && c == '?' {
		// What stands behind the last element of an earlier stream is no part
		// of this one: clients end what they say with a new line.
		if white && !d.again {
			return h, notWellFormed("XML declaration after white space")
		}
		if err = d.declaration(s); err == nil {
			if _, err = d.space(); err == nil {
				err = d.expect("<", notWellFormed)
			}
		}
	}
	if err == nil {
		err = d.startTag(s)
	}
	if err != nil {
		return h, midway(err)
	}
	if s.tag.empty {
		return h, notWellFormed("stream closed by its own header")
	}
	h.Space = s.tag.space
	if h.Space != NSStreams {
		return h, &StreamError{Condition: InvalidNamespace, Text: "the stream's namespace must be " + NSStreams}
	}
	if string(s.val[s.tag.local:s.tag.nameEnd]) != "stream" {
		return h, &StreamError{Condition: BadFormat, Text: "not a stream"}
	}
	for _, a := range s.attrs {
		v := func() string { return string(appendUnescaped(nil, s.val[a.value:a.valueEnd])) }
		switch string(s.val[a.name:a.nameEnd]) {
		case "to":
			h.To = v()
		case "from":
			h.From = v()
		case "id":
			h.ID = v()
		case "version":
			h.Version = v()
		case "xml:lang":
			h.Lang = v()
		case "xmlns":
			h.Content = v()
		}
	}
	if h.Content == "" {
		h.Content, _ = s.lookup("")
	}
	d.scope = append([]binding(nil), s.bindings...)
	d.root = append([]byte(nil), s.val[:s.tag.nameEnd]...)
	d.lang, d.opened = h.Lang, true
	if d.used() > int64(d.limits.Bytes) {
		return h, violation("stream header too large")
	}
	return h, nil
}

// mark notes that an element begins here.
func (d *Decoder) mark() { d.start = d.total - int64(d.end-d.pos) }

// declaration takes an XML declaration after its <.
func (d *Decoder) declaration(s *scratch) error {
	if err := d.expect("?xml", restricted); err != nil {
		return err
	}
	for i := 0; ; i++ {
		white, err := d.space()
		if err != nil {
			return err
		}
		c, err := d.peek()
		if err != nil {
			return err
		}
		if c == '?' {
			if i == 0 {
				return notWellFormed("XML declaration without a version")
			}
			return d.expect("?>", notWellFormed)
		}
		if !white {
			if i == 0 {
				return restricted("processing instruction")
			}
			return notWellFormed("XML declaration")
		}
		s.val = s.val[:0]
		if err := d.attribute(s); err != nil {
			return err
		}
		a := s.attrs[len(s.attrs)-1]
		s.attrs = s.attrs[:0]
		name, value := string(s.val[a.name:a.nameEnd]), string(s.val[a.value:a.valueEnd])
		switch {
		case i == 0 && name == "version" && strings.HasPrefix(value, "1."):
		case i == 1 && name == "encoding":
			if !strings.EqualFold(value, "utf-8") {
				return &StreamError{Condition: UnsupportedEncoding}
			}
		case i >= 1 && name == "standalone" && (value == "yes" || value == "no"):
		default:
			return notWellFormed("XML declaration")
		}
	}
}

// Next implements Reader.
func (d *Decoder) Next() (*Stanza, error) {
	if d.err != nil {
		return nil, d.err
	}
	if !d.opened {
		d.err = errors.New("stanza: Next before Open")
		return nil, d.err
	}
	for {
		// White space between elements keeps a connection alive and is
		// no part of anything (RFC 6120, section 11.7).
		d.mark()
		c, err := d.peek()
		if err != nil {
			var serr *StreamError
			if errors.As(err, &serr) {
				d.err = err
			}
			return nil, err
		}
		if class[c]&cSpace == 0 {
			break
		}
		d.pos++
	}
	st, err := d.stanza()
	if err != nil {
		d.err = midway(err)
		return nil, d.err
	}
	return st, nil
}

// stanza takes one element of the stream level.
func (d *Decoder) stanza() (*Stanza, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c != '<' {
		return nil, &StreamError{Condition: BadFormat, Text: "text between stanzas"}
	}
	if c, err = d.peek(); err != nil {
		return nil, err
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.alias = d.alias
	switch c {
	case '/':
		d.pos++
		if s.val, _, err = d.name(s.val); err != nil {
			return nil, err
		}
		if !bytes.Equal(s.val, d.root) {
			return nil, notWellFormed("end tag without a start tag")
		}
		if err = d.closeTag(); err != nil {
			return nil, err
		}
		return nil, ErrStreamClosed
	case '!':
		d.pos++
		if s.out, err = d.cdata(s.out); err != nil {
			return nil, err
		}
		return nil, &StreamError{Condition: BadFormat, Text: "text between stanzas"}
	case '?':
		return nil, restricted("processing instruction")
	}
	s.bindings = append(s.bindings, d.scope...)
	if err = d.startTag(s); err != nil {
		return nil, err
	}
	if !s.tag.empty && s.tag.space == NSStreams && string(s.val[s.tag.local:s.tag.nameEnd]) == "stream" {
		// Its end may never come.
		return nil, &StreamError{Condition: UnsupportedStanzaType, Text: "a stream within the stream"}
	}
	st := s.stanza()
	if st.Lang == "" && st.Kind != Other {
		st.Lang = d.lang
	}
	s.push(NSClient)
	if s.tag.empty {
		s.pop()
	}
	if err = d.content(s); err != nil {
		return nil, err
	}
	if d.used() > int64(d.limits.Bytes) {
		return nil, violation("stanza too large")
	}
	if len(s.out) > 0 {
		st.Inner = append(make([]byte, 0, len(s.out)), s.out...)
	}
	return st, nil
}

// stanza makes a Stanza of the start tag that was just read.
func (s *scratch) stanza() *Stanza {
	st := &Stanza{Space: s.tag.space, Local: intern(s.val[s.tag.local:s.tag.nameEnd])}
	if st.Space == NSClient {
		switch st.Local {
		case "message":
			st.Kind = Message
		case "presence":
			st.Kind = Presence
		case "iq":
			st.Kind = IQ
		}
	}
	// The long-lived values share one string; the rest is well known.
	var cut [4]int
	var long [3]*string
	n := 0
	for i := range s.attrs {
		a := &s.attrs[i]
		raw := s.val[a.value:a.valueEnd]
		var into *string
		switch string(s.val[a.name:a.nameEnd]) {
		case "to":
			into = &st.To
		case "from":
			into = &st.From
		case "id":
			into = &st.ID
		case "type":
			s.head = appendUnescaped(s.head, raw)
			st.Type = intern(s.head[cut[n]:])
			s.head = s.head[:cut[n]]
			continue
		case "xml:lang":
			s.head = appendUnescaped(s.head, raw)
			st.Lang = intern(s.head[cut[n]:])
			s.head = s.head[:cut[n]]
			continue
		default:
			if !s.declares(a) {
				st.Attrs = append(st.Attrs, s.attr(a))
			}
			continue
		}
		s.head = appendUnescaped(s.head, raw)
		long[n] = into
		n++
		cut[n] = len(s.head)
	}
	if n > 0 {
		all := string(s.head)
		for i := range n {
			*long[i] = all[cut[i]:cut[i+1]]
		}
	}
	return st
}

// attr copies an attribute out.
func (s *scratch) attr(a *attr) Attr {
	out := Attr{Local: intern(s.val[a.name:a.nameEnd]), Value: string(appendUnescaped(nil, s.val[a.value:a.valueEnd]))}
	if a.colon >= 0 {
		out.Space, _ = s.lookup(string(s.val[a.name : a.name+a.colon]))
		out.Local = intern(s.val[a.name+a.colon+1 : a.nameEnd])
	}
	return out
}
