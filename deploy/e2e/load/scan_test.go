//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const heard = `<iq type='result' id='r1' to='u1@localhost/load'><query xmlns='jabber:iq:roster' ver='7'><item jid='u2@localhost' subscription='both'/></query></iq>` +
	`<presence id='s12' from='u2@localhost/load' to='u1@localhost'><show>away</show><status>a &lt; b</status></presence>` +
	` <presence type='unavailable' from='u3@localhost/load' to='u1@localhost'/>` +
	`<message type='chat' id='m5' from='u2@localhost/load' to='u1@localhost/load'><body>hello</body></message>`

func TestScanHoweverItIsCut(t *testing.T) {
	want := []string{"i r1 ", "p s12 u2@localhost/load", "p  u3@localhost/load", "m m5 u2@localhost/load"}
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(heard)), 0, 8).Draw(t, "cuts")
		slices.Sort(cuts)
		var got []string
		var rest []byte
		from := 0
		for _, cut := range append(cuts, len(heard)) {
			chunk := []byte(heard[from:cut])
			from = cut
			rest = scan(rest, chunk, func(k kind, tag []byte) {
				got = append(got, fmt.Sprintf("%c %s %s", k, attr(tag, " id="), attr(tag, " from=")))
			})
			clear(chunk) // the reader's buffer is used again
		}
		if !slices.Equal(got, want) || len(rest) > 0 {
			t.Fatalf("got %q, rest %q", got, rest)
		}
	})
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]int{"12@localhost": 12, "0/": 0, "x": -1, "": -1} {
		n, ok := number([]byte(text))
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	one := `<presence id='s12345' from='u1234@localhost/load' to='u1@localhost'><show>away</show><status>change 12345</status></presence>`
	chunk := []byte(strings.Repeat(one, 20))
	b.SetBytes(int64(len(chunk)))
	n := 0
	for b.Loop() {
		scan(nil, chunk, func(_ kind, tag []byte) {
			if id, ok := number(attr(tag, " id=")[1:]); ok && id == 12345 {
				n++
			}
		})
	}
	if n == 0 {
		b.Fatal("nothing found")
	}
}
