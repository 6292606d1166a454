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
