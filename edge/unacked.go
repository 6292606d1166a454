package edge

import "slices"

// unacked is what a client under stream management (XEP-0198) was sent and
// has not acknowledged. Counts wrap around at 2^32. It belongs to an outbound,
// whose mu guards it; while everything is acknowledged it holds no buffer.
type unacked struct {
	sent      uint32 // stanzas
	acked     uint32 // of these; sent-acked wait here
	kept      []byte // whole stanzas: those that wait, and before start some that do not
	start     int    // of stanza acked+1 in kept
	ends      []int  // in kept, of each that waits
	receipts  []ackReceipt
	resumable bool // the stanzas are kept when the connection breaks

	askedSent  uint32 // what sent was when the client was last asked
	askedBytes int    // bytes that were sent since
	important  bool   // a receipt waits that the client was not asked for
}

// ackReceipt is told when the client has the stanza of that number.
type ackReceipt struct {
	number uint32
	told   receipt
}

// A client is asked to acknowledge when that many stanzas or bytes went out
// since it was last asked, or one whose receipt somebody waits for.
const (
	askStanzas = 16
	askBytes   = 8 << 10
)

// size is how many bytes wait for the acknowledgement.
func (u *unacked) size() int { return len(u.kept) - u.start }

// add counts one more stanza, and keeps it.
func (u *unacked) add(stanza []byte, r receipt) {
	if u.kept == nil {
		u.kept = takeBuffer()
	}
	u.sent++
	u.kept = append(u.kept, stanza...)
	u.ends = append(u.ends, len(u.kept))
	u.askedBytes += len(stanza)
	if r != nil {
		u.receipts = append(u.receipts, ackReceipt{u.sent, r})
		u.important = true
	}
}

// valid tells whether h is a count that the client may acknowledge.
func (u *unacked) valid(h uint32) bool { return h-u.acked <= u.sent-u.acked }

// ack notes that the client has the first h stanzas. It gives the receipts
// that are to be told so.
func (u *unacked) ack(h uint32) (told []ackReceipt) {
	n := int(h - u.acked)
	if n == 0 {
		return nil
	}
	u.acked, u.start = h, u.ends[n-1]
	if u.ends = u.ends[n:]; len(u.ends) == 0 {
		giveBuffer(u.kept)
		u.kept, u.start, u.ends = nil, 0, nil
	} else if u.start > len(u.kept)/2 {
		u.kept = slices.Delete(u.kept, 0, u.start)
		for i := range u.ends {
			u.ends[i] -= u.start
		}
		u.start = 0
	}
	for n = 0; n < len(u.receipts) && h-u.receipts[n].number < 1<<31; n++ {
	}
	told = u.receipts[:n:n]
	if u.receipts = u.receipts[n:]; len(u.receipts) == 0 {
		u.receipts = nil
	}
	return told
}

// asks tells whether the client shall be asked now, and notes that it is;
// waiting tells that something waits for its answer.
func (u *unacked) asks(waiting bool) bool {
	if !u.important && u.sent-u.askedSent < askStanzas && u.askedBytes < askBytes && (!waiting || u.sent == u.askedSent) {
		return false
	}
	u.asked()
	return true
}

func (u *unacked) asked() { u.askedSent, u.askedBytes, u.important = u.sent, 0, false }

// drop forgets everything; it gives the receipts that are to be told that the
// client may not have what they wait for.
func (u *unacked) drop() []ackReceipt {
	told := u.receipts
	giveBuffer(u.kept)
	*u = unacked{sent: u.sent, acked: u.sent, askedSent: u.sent, resumable: u.resumable}
	return told
}
