package message

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Origins remembers the latest messages that an account got and whose senders'
// clients gave them an id of their own (XEP-0359, origin-id), oldest first: a
// client that does not know whether its message arrived sends it again under
// the same id. Nil remembers none.
type Origins []Origin

// An Origin is a message by its sender and the id, and where it is in the
// account's history.
type Origin struct {
	Hash   uint64 // OriginHash
	Offset int64
}

// MaxOrigins is how many messages are remembered.
const MaxOrigins = 64

// OriginHash gives what stands for a sender, a bare JID, and the id that its
// client gave. Nobody can make a message whose hash is that of another's.
func OriginHash(sender, id string) uint64 {
	sum := sha256.Sum256(append(append(append(make([]byte, 0, 256), sender...), 0), id...))
	return binary.BigEndian.Uint64(sum[:])
}

// Copied tells whether the message at offset is a copy of an earlier one.
func (o Origins) Copied(hash uint64, offset int64) bool {
	for i := range o {
		if o[i].Hash == hash && o[i].Offset < offset {
			return true
		}
	}
	return false
}

// Note gives o with the message at offset, which is the newest, and perhaps
// without the oldest. o itself must not be used any more.
func (o Origins) Note(hash uint64, offset int64) Origins {
	if len(o) >= MaxOrigins {
		o = o[:copy(o, o[len(o)-MaxOrigins+1:])]
	}
	return append(o, Origin{hash, offset})
}

// AppendBinary appends an encoding that is the same for equal origins, and
// nothing for none. The error is always nil.
func (o Origins) AppendBinary(b []byte) ([]byte, error) {
	last := int64(0)
	for i := range o {
		b = binary.BigEndian.AppendUint64(b, o[i].Hash)
		b = binary.AppendVarint(b, o[i].Offset-last)
		last = o[i].Offset
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (o *Origins) UnmarshalBinary(b []byte) error {
	*o = nil
	last := int64(0)
	var read Origins
	for len(b) > 0 {
		if len(b) < 9 {
			return errOrigins
		}
		step, n := binary.Varint(b[8:])
		if n <= 0 {
			return errOrigins
		}
		last += step
		read = append(read, Origin{binary.BigEndian.Uint64(b), last})
		b = b[8+n:]
	}
	*o = read
	return nil
}

var errOrigins = errors.New("message: origins cannot be read")
