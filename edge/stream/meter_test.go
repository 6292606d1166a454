package stream

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Before authentication AuthBytes are read and no more, whatever part of a
// buffer they are.
func TestAuthBytes(t *testing.T) {
	for _, size := range []int{1000, 3000, 4096, 5000} {
		o, _ := options()
		o.AuthBytes = size
		c := dial(t, t.Context(), o)
		c.send(clientHeader + strings.Repeat(" ", size-len(clientHeader)+1))
		if _, err := c.d.Open(); err != nil {
			t.Fatal(err)
		}
		c.next("features")
		c.wantStreamError(stanza.PolicyViolation)
	}
}

// An idle session keeps nothing of what its login was read into.
func TestMeterLetsGo(t *testing.T) {
	o, _ := options2()
	c, _ := secure(t, o)
	c.send(ask2("PLAIN", plain, bind2) + "<presence/>")
	s := c.asked()
	s.AppendBound(nil, "juliet@example.org/r", nil)
	if s.n.said != nil || s.success != nil || s.bind2 != nil {
		t.Fatal("the answer is kept")
	}
	for range 2 {
		if st, err := s.Next(); err != nil || st.Kind != stanza.Presence {
			t.Fatal(st, err)
		}
		c.send("<presence/>")
	}
	if m := s.n.meter; m.buf != nil || m.rest != nil {
		t.Fatalf("%d and %d bytes are kept", cap(m.buf), cap(m.rest))
	}
}
