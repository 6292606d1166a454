package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/jid"
)

// What it takes to load accounts, with and without what they have published: a
// vCard and two avatars of 100 KB, whose payloads are not read.
func BenchmarkLoad(b *testing.B) {
	const accounts = 500
	for _, published := range []bool{false, true} {
		b.Run(fmt.Sprintf("accounts=%d/published=%v", accounts, published), func(b *testing.B) {
			s, pool := opened(b)
			if _, err := s.Open(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
			// What compresses badly is stored as long as it is.
			var big strings.Builder
			for i := 0; big.Len() < 100<<10; i++ {
				fmt.Fprintf(&big, "%x", uint32(i)*2654435761)
			}
			var names []jid.Bare
			at := int64(0)
			for i := range accounts {
				name := fmt.Sprintf("u%d@localhost", i)
				names = append(names, jid.MustBare(name))
				u := unit(0, 0, at, at+1)
				at++
				u.Put.Accounts = []AccountRow{{Account: name, Partition: 1}}
				if published {
					u.Put.Storage = []StorageRow{{Account: name, Space: 1, Payload: big.String()}}
					u.Put.Nodes = []NodeRow{{Account: name, Node: "data", Access: 1, MaxItems: 2}}
					for _, id := range []string{"a", "b"} {
						u.Put.NodeItems = append(u.Put.NodeItems, NodeItemRow{Account: name, Node: "data", ID: id, Payload: big.String()})
					}
				}
				if err := s.Commit(b.Context(), u); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := pool.Exec(b.Context(), "ANALYZE"); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Load(b.Context(), names); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
