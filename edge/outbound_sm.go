package edge

import (
	"net"

	"github.com/rollcall/rollcall/edge/stanza"
)

// What an outbound does for stream management (XEP-0198).

const askForAck = "<r xmlns='" + stanza.NSSM + "'/>"

// open begins to write to the client: said, and what came for it since the
// session was made. It tells whether the session is there still.
func (o *outbound) open(said []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	early := o.buf
	if o.sm != nil {
		early = o.sm.kept[o.sm.start:]
	}
	said = append(append(takeBuffer(), said...), early...)
	giveBuffer(o.buf)
	o.buf, o.away = said, false
	o.start()
	return true
}

// manage numbers and keeps the stanzas that come after said.
func (o *outbound) manage(said []byte, resumable bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.sm != nil {
		return
	}
	if o.buf == nil {
		o.buf = takeBuffer()
	}
	o.buf = append(o.buf, said...)
	o.sm = &unacked{resumable: resumable}
	o.start()
}

// keep keeps the stanza that buf has from n on, and takes it out of buf if
// there is no connection. o.mu is held.
func (o *outbound) keep(n int, r receipt) {
	o.sm.add(o.buf[n:], r)
	if !o.away {
		return
	}
	if o.buf = o.buf[:n]; n == 0 {
		giveBuffer(o.buf)
		o.buf = nil
	}
}

// ack takes the client's acknowledgement of h stanzas. Without ok it
// acknowledges what it cannot have; sent is how many it was sent.
func (o *outbound) ack(h uint32) (sent uint32, ok bool) {
	o.mu.Lock()
	if o.sm == nil || !o.sm.valid(h) {
		if o.sm != nil {
			sent = o.sm.sent
		}
		o.mu.Unlock()
		return sent, o.sm == nil
	}
	sent = o.sm.sent
	told := o.sm.ack(h)
	o.makeRoom()
	if !o.closing && !o.crowded() {
		o.start() // presence may have waited for it
	}
	o.mu.Unlock()
	for _, r := range told {
		r.told(true)
	}
	return sent, true
}

// ask asks the client to acknowledge what waits for it; it tells whether
// anything does.
func (o *outbound) ask() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.away || o.sm == nil || o.sm.sent == o.sm.acked {
		return false
	}
	if o.buf == nil {
		o.buf = takeBuffer()
	}
	o.buf = append(o.buf, askForAck...)
	o.sm.asked()
	o.start()
	return true
}

// lost is called when the connection takes nothing more; it tells whether the
// session can go on with another one. o.mu is held.
func (o *outbound) lost() bool {
	if o.closing || o.sm == nil || !o.sm.resumable {
		return false
	}
	o.leave()
	return true
}

// leave gives the connection up. o.mu is held.
func (o *outbound) leave() {
	giveBuffer(o.buf)
	o.buf = nil
	if !o.away {
		o.away = true
		go o.conn.Close()
	}
}

// detach gives the connection up after it was told last. What is to be sent
// waits for another one if the session can be resumed, and is refused if not.
func (o *outbound) detach(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing || o.away:
	case o.sm == nil || !o.sm.resumable:
		o.fail(false)
	case len(last) == 0:
		o.leave()
	default:
		giveBuffer(o.buf)
		o.buf, o.away = nil, true
		old := &outbound{conn: o.conn, limits: o.limits, unread: true, onBreak: func(bool) {}}
		old.close(last)
	}
}

// attach goes on with another connection: said first, then what the client
// has not acknowledged of the first h stanzas and all after them.
func (o *outbound) attach(conn net.Conn, said func(dst []byte) []byte, h uint32) (sent uint32, ok bool) {
	o.mu.Lock()
	if o.closing || !o.away || !o.sm.valid(h) {
		sent = o.sm.sent
		o.mu.Unlock()
		return sent, false
	}
	told := o.sm.ack(h)
	o.conn, o.away, o.unread, o.quiet = conn, false, false, false
	o.buf = append(said(takeBuffer()), o.sm.kept[o.sm.start:]...)
	if o.sm.asked(); o.sm.sent != o.sm.acked {
		o.buf = append(o.buf, askForAck...)
	}
	o.makeRoom()
	o.start()
	sent = o.sm.sent
	o.mu.Unlock()
	for _, r := range told {
		r.told(true)
	}
	return sent, true
}

// forget tells whoever waits for an acknowledgement that none will come, and
// then does then, if any. o.mu is held.
func (o *outbound) forget(then func()) {
	var told []ackReceipt
	if o.sm != nil {
		told = o.sm.drop()
	}
	if len(told) == 0 && then == nil {
		return
	}
	go func() {
		for _, r := range told {
			r.told(false)
		}
		if then != nil {
			then()
		}
	}()
}
