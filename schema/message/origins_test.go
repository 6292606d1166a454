package message

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// XEP-0359, section 3: the origin-id is the sending client's, so two accounts
// may use the same.
func TestOriginHash(t *testing.T) {
	seen := make(map[uint64][2]string)
	for _, who := range [][2]string{{"a@x", "1"}, {"a@x", "2"}, {"b@x", "1"}, {"a@x1", ""}, {"a@x", ""}} {
		h := OriginHash(who[0], who[1])
		if other, taken := seen[h]; taken {
			t.Errorf("%q is %q", who, other)
		}
		if h != OriginHash(who[0], who[1]) {
			t.Error("another hash the second time")
		}
		seen[h] = who
	}
	// Written into views: it may never change.
	if got := OriginHash("a@x", "1"); got != 0xbbe848bd55c2d0a1 {
		t.Errorf("%#x", got)
	}
}

// Against a plain list of all messages: a copy is what has the hash of one of
// the last MaxOrigins noted before it; and the bytes give the same origins.
func TestOrigins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o Origins
		var all []Origin
		offset := int64(0)
		for range rapid.IntRange(0, 3*MaxOrigins).Draw(t, "messages") {
			offset += rapid.Int64Range(1, 1<<40).Draw(t, "step")
			hash := rapid.Uint64Range(1, 100).Draw(t, "hash")
			recent := all[max(0, len(all)-MaxOrigins):]
			copied := slices.ContainsFunc(recent, func(r Origin) bool { return r.Hash == hash })
			if o.Copied(hash, offset) != copied {
				t.Fatalf("at %d: %v, want %v", offset, !copied, copied)
			}
			if copied {
				continue
			}
			o = o.Note(hash, offset)
			all = append(all, Origin{hash, offset})
			if o.Copied(hash, offset) {
				t.Fatal("a message is a copy of itself")
			}
		}
		if !slices.Equal(o, all[max(0, len(all)-MaxOrigins):]) {
			t.Fatal("not the last ones")
		}
		b, err := o.AppendBinary(nil)
		var back Origins
		if err != nil || back.UnmarshalBinary(b) != nil || !slices.Equal(o, back) {
			t.Fatalf("%v came back as %v", o, back)
		}
	})
}

func FuzzOrigins(f *testing.F) {
	b, _ := Origins{{1, 5}, {2, 7}}.AppendBinary(nil)
	f.Add(b)
	f.Add(b[:5])
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, again Origins
		if o.UnmarshalBinary(b) != nil {
			return
		}
		c, _ := o.AppendBinary(nil)
		if err := again.UnmarshalBinary(c); err != nil || !slices.Equal(o, again) {
			t.Errorf("%v %v: %v", o, again, err)
		}
	})
}
