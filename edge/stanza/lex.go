package stanza

import (
	"errors"
	"io"
	"unicode/utf8"
)

// Classes of bytes. Everything from 0x80 on is decoded as UTF-8 first.
const (
	cName  = 1 << iota // may stand in a name
	cStart             // may open a name
	cSpace             // white space
	cPlain             // stands for itself in text and in attribute values
)

var class = func() (t [256]uint8) {
	for c := 0x20; c < 0x80; c++ {
		t[c] |= cPlain
	}
	for _, c := range []byte("<>&'\"") {
		t[c] &^= cPlain
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= cName | cStart
		t[c-'a'+'A'] |= cName | cStart
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= cName
	}
	t['_'] |= cName | cStart
	t['-'] |= cName
	t['.'] |= cName
	for _, c := range []byte(" \t\r\n") {
		t[c] |= cSpace
	}
	return t
}()

// isChar tells whether XML 1.0 allows the character (production 2).
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// isNameStart covers what is not ASCII of production 4.
func isNameStart(r rune) bool {
	return r >= 0xC0 && r <= 0x2FF && r != 0xD7 && r != 0xF7 || r >= 0x370 && r <= 0x1FFF && r != 0x37E ||
		r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF ||
		r >= 0x3001 && r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF || r >= 0xFDF0 && r <= 0xFFFD ||
		r >= 0x10000 && r <= 0xEFFFF
}

// isName covers what is not ASCII of production 4a.
func isName(r rune) bool {
	return isNameStart(r) || r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// fill reads more bytes; on return there is at least one, or an error.
func (d *Decoder) fill() error {
	if d.used() > int64(d.limits.Bytes) {
		return violation("stanza too large")
	}
	d.resize()
	for range 100 {
		n, err := d.src.Read(d.buf)
		if n > 0 {
			d.pos, d.end = 0, n
			d.total += int64(n)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// used gives the number of bytes of the current element so far.
func (d *Decoder) used() int64 { return d.total - int64(d.end-d.pos) - d.start }

func (d *Decoder) peek() (byte, error) {
	if d.pos == d.end {
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	return d.buf[d.pos], nil
}

func (d *Decoder) next() (byte, error) {
	c, err := d.peek()
	d.pos++
	if err != nil {
		d.pos = d.end
	}
	return c, err
}

// expect takes exactly these bytes.
func (d *Decoder) expect(s string, otherwise func(string) error) error {
	for i := range len(s) {
		c, err := d.next()
		if err != nil {
			return err
		}
		if c != s[i] {
			return otherwise("unexpected markup")
		}
	}
	return nil
}

// space skips white space and tells whether there was any.
func (d *Decoder) space() (bool, error) {
	some := false
	for {
		c, err := d.peek()
		if err != nil {
			return some, err
		}
		if class[c]&cSpace == 0 {
			return some, nil
		}
		some = true
		d.pos++
	}
}

// rune takes one character from 0x80 on and appends its bytes to dst.
func (d *Decoder) rune(dst []byte) ([]byte, rune, error) {
	var b [utf8.UTFMax]byte
	n := 0
	for n == 0 || !utf8.FullRune(b[:n]) {
		c, err := d.next()
		if err != nil {
			return dst, 0, err
		}
		b[n] = c
		n++
	}
	r, size := utf8.DecodeRune(b[:n])
	if r == utf8.RuneError && size <= 1 {
		// RFC 6120, section 4.9.3.22: encoded improperly.
		return dst, 0, &StreamError{Condition: UnsupportedEncoding, Text: "not UTF-8"}
	}
	if !isChar(r) {
		return dst, 0, notWellFormed("character not allowed")
	}
	return append(dst, b[:n]...), r, nil
}

// name appends a qualified name to dst. colon is the length of the prefix in
// it, -1 if it has none.
func (d *Decoder) name(dst []byte) (_ []byte, colon int, err error) {
	colon = -1
	first, part := len(dst), len(dst)
	for {
		c, err := d.peek()
		if err != nil {
			return dst, colon, err
		}
		switch {
		case c >= 0x80:
			start := len(dst) == part
			var r rune
			if dst, r, err = d.rune(dst); err != nil {
				return dst, colon, err
			}
			if start && !isNameStart(r) || !isName(r) {
				return dst, colon, notWellFormed("character not allowed in a name")
			}
			continue
		case len(dst) == part && class[c]&cStart != 0, len(dst) > part && class[c]&cName != 0:
		case c == ':' && colon < 0 && len(dst) > part:
			colon, part = len(dst)-first, len(dst)+1
		default:
			if len(dst) == part || c == ':' {
				return dst, colon, notWellFormed("not a name")
			}
			return dst, colon, nil
		}
		dst = append(dst, c)
		d.pos++
	}
}

// reference takes what follows a & and appends its canonical form. escapeSpace
// is set in attribute values, where tab and newline would not survive.
func (d *Decoder) reference(dst []byte, escapeSpace bool) ([]byte, error) {
	var b [12]byte
	n := 0
	for {
		c, err := d.next()
		if err != nil {
			return dst, err
		}
		if c == ';' {
			break
		}
		if n == len(b) || class[c]&cName == 0 && (c != '#' || n > 0) {
			return dst, notWellFormed("not a reference")
		}
		b[n] = c
		n++
	}
	switch ref := string(b[:n]); ref {
	case "lt", "gt", "amp", "apos":
		dst = append(dst, '&')
		dst = append(dst, ref...)
		return append(dst, ';'), nil
	case "quot":
		return append(dst, '"'), nil
	}
	if n == 0 || b[0] != '#' {
		if n > 0 && class[b[0]]&cStart != 0 {
			return dst, restricted("entity reference")
		}
		return dst, notWellFormed("not a reference")
	}
	r, ok := charRef(b[1:n])
	if !ok || !isChar(r) {
		return dst, notWellFormed("not a character reference")
	}
	return appendEscapedRune(dst, r, escapeSpace), nil
}

// charRef reads the digits of a character reference.
func charRef(b []byte) (rune, bool) {
	base := rune(10)
	if len(b) > 0 && b[0] == 'x' {
		base, b = 16, b[1:]
	}
	r := rune(0)
	for _, c := range b {
		v := rune(99)
		switch {
		case c >= '0' && c <= '9':
			v = rune(c - '0')
		case c >= 'a' && c <= 'f':
			v = rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			v = rune(c-'A') + 10
		}
		if v >= base {
			return 0, false
		}
		if r = r*base + v; r > utf8.MaxRune {
			return 0, false
		}
	}
	return r, len(b) > 0
}

// value takes an attribute value with its quotes and appends it in canonical
// form. XML 1.0, section 3.3.3: white space becomes a space.
func (d *Decoder) value(dst []byte) ([]byte, error) {
	quote, err := d.next()
	if err != nil {
		return dst, err
	}
	if quote != '\'' && quote != '"' {
		return dst, notWellFormed("attribute value without quotes")
	}
	for {
		c, err := d.peek()
		if err != nil {
			return dst, err
		}
		if class[c]&cPlain != 0 {
			from := d.pos
			for d.pos++; d.pos < d.end && class[d.buf[d.pos]]&cPlain != 0; d.pos++ {
			}
			dst = append(dst, d.buf[from:d.pos]...)
			continue
		}
		if c >= 0x80 {
			if dst, _, err = d.rune(dst); err != nil {
				return dst, err
			}
			continue
		}
		d.pos++
		switch {
		case c == quote:
			return dst, nil
		case c == '&':
			if dst, err = d.reference(dst, true); err != nil {
				return dst, err
			}
		case c == '<':
			return dst, notWellFormed("< in an attribute value")
		case c == '\r':
			if c, err := d.peek(); err != nil {
				return dst, err
			} else if c == '\n' {
				d.pos++
			}
			dst = append(dst, ' ')
		case c == '\t' || c == '\n':
			dst = append(dst, ' ')
		case isChar(rune(c)):
			dst = appendEscapedRune(dst, rune(c), true)
		default:
			return dst, notWellFormed("character not allowed")
		}
	}
}

// text takes character data up to the next < and appends it in canonical form.
func (d *Decoder) text(dst []byte) ([]byte, error) {
	brackets := 0 // how many ] directly before
	for {
		c, err := d.peek()
		if err != nil {
			return dst, err
		}
		if class[c]&cPlain != 0 && c != ']' {
			from := d.pos
			for d.pos++; d.pos < d.end && d.buf[d.pos] != ']' && class[d.buf[d.pos]]&cPlain != 0; d.pos++ {
			}
			dst = append(dst, d.buf[from:d.pos]...)
			brackets = 0
			continue
		}
		before := brackets
		brackets = 0
		switch {
		case c == '<':
			return dst, nil
		case c >= 0x80:
			if dst, _, err = d.rune(dst); err != nil {
				return dst, err
			}
			continue
		case c == ']':
			brackets = before + 1
		case c == '>' && before >= 2:
			return dst, notWellFormed("]]> in text")
		}
		d.pos++
		if c == '&' {
			dst, err = d.reference(dst, false)
		} else {
			dst, err = d.literal(dst, c)
		}
		if err != nil {
			return dst, err
		}
	}
}

// literal appends a character of text that has been taken. A line always
// ends in a newline alone: XML 1.0, section 2.11.
func (d *Decoder) literal(dst []byte, c byte) ([]byte, error) {
	if c == '\r' {
		if next, err := d.peek(); err != nil {
			return dst, err
		} else if next == '\n' {
			return dst, nil
		}
		c = '\n'
	}
	if !isChar(rune(c)) {
		return dst, notWellFormed("character not allowed")
	}
	return appendEscapedRune(dst, rune(c), false), nil
}

// cdata takes the rest of a CDATA section after <! and appends it as text.
func (d *Decoder) cdata(dst []byte) ([]byte, error) {
	if err := d.expect("[CDATA[", restricted); err != nil {
		return dst, err
	}
	brackets := 0
	for {
		c, err := d.peek()
		if err != nil {
			return dst, err
		}
		if c == ']' {
			d.pos++
			brackets++
			continue
		}
		if c == '>' && brackets >= 2 {
			d.pos++
			for range brackets - 2 {
				dst = append(dst, ']')
			}
			return dst, nil
		}
		for ; brackets > 0; brackets-- {
			dst = append(dst, ']')
		}
		if c >= 0x80 {
			dst, _, err = d.rune(dst)
		} else {
			d.pos++
			dst, err = d.literal(dst, c)
		}
		if err != nil {
			return dst, err
		}
	}
}

// midway turns an end of input inside an element into io.ErrUnexpectedEOF.
func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
