//go:build linux

package main

import "bytes"

// A kind tells top-level elements of a stream apart. Others are not reported.
type kind byte

const (
	presence    kind = 'p'
	message     kind = 'm'
	iq          kind = 'i'
	streamError kind = 'e'
)

// maxTag is how much of an unfinished start tag is kept for the next read.
const maxTag = 16 << 10

// scan finds the start tags of stanzas in what a server sent: rest, which an
// earlier scan left, and then chunk. It gives each to found, without its
// angle brackets, and returns what may be the beginning of one more, which is
// not part of chunk. It does not read XML: a server writes attribute values
// and text with < escaped, so a start tag is what looks like one.
func scan(rest, chunk []byte, found func(k kind, tag []byte)) []byte {
	data := chunk
	if len(rest) > 0 {
		data = append(rest, chunk...)
	}
	for {
		i := bytes.IndexByte(data, '<')
		if i < 0 {
			return nil
		}
		data = data[i+1:]
		end := bytes.IndexByte(data, '>')
		if end < 0 {
			if len(data) > maxTag {
				return nil
			}
			return append([]byte{'<'}, data...)
		}
		if k := kindOf(data[:end]); k != 0 {
			found(k, data[:end])
		}
		data = data[end+1:]
	}
}

func kindOf(tag []byte) kind {
	name := tag
	if i := bytes.IndexAny(tag, " />"); i >= 0 {
		name = tag[:i]
	}
	switch string(name) {
	case "presence":
		return presence
	case "message":
		return message
	case "iq":
		return iq
	case "stream:error":
		return streamError
	}
	return 0
}

// attr gives the value of an attribute as it is written, nil if there is
// none. The name is given with what surrounds it: " id=".
func attr(tag []byte, name string) []byte {
	i := bytes.Index(tag, []byte(name))
	if i < 0 || i+len(name) >= len(tag) {
		return nil
	}
	value := tag[i+len(name):]
	end := bytes.IndexByte(value[1:], value[0])
	if end < 0 {
		return nil
	}
	return value[1 : end+1]
}

// number reads the digits at the start of b; ok is false if there are none.
func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+int(c-'0'), true
	}
	return n, ok
}
