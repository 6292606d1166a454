package stream

import (
	"io"

	"github.com/rollcall/rollcall/edge/stanza"
)

// meter counts what an unauthenticated client sends. So that what it sends at
// once is answered at once, it reads more than the reader asks for.
type meter struct {
	src    io.Reader
	left   int             // negative: the client has authenticated, and has no limit
	before func() error    // is called before each wait for the client
	pace   func(int) error // is called after each, once it has authenticated; nil: nothing
	buf    []byte
	rest   []byte // of buf: what the reader has not had
}

// meterBuffer holds what a client says that waits for nothing.
const meterBuffer = 4096

// Read implements io.Reader.
func (m *meter) Read(b []byte) (int, error) {
	if len(m.rest) == 0 {
		if err := m.before(); err != nil {
			return 0, err
		}
		if m.left < 0 {
			m.buf, m.rest = nil, nil
			n, err := m.src.Read(b)
			if n > 0 && m.pace != nil {
				if bad := m.pace(n); bad != nil {
					return 0, bad
				}
			}
			return n, err
		}
		if err := m.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func (m *meter) fill() error {
	if m.left == 0 {
		return &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "too much sent before authentication"}
	}
	if m.buf == nil {
		m.buf = make([]byte, meterBuffer)
	}
	n, err := m.src.Read(m.buf[:min(len(m.buf), m.left)])
	m.left -= n
	if m.rest = m.buf[:n]; n > 0 {
		return nil // an error comes again
	}
	return err
}
