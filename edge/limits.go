package edge

import "time"

// Limits bound what one session, or one account, may ask for, so that nobody
// slows others. A negative number is no limit.
type Limits struct {
	Roster   int // items of a roster; 5000
	Pending  int // requests to subscribe that wait for an account, of contacts outside its roster; 1000
	Directed int // targets of directed presence of a session; 500
	Asking   int // iqs of a session that are not answered yet; 256

	StanzaRate  int           // stanzas that a session may send a second, for long; 200
	StanzaBurst int           // and at once; 4000
	ByteRate    int           // bytes that a session may send a second, for long; 256 KiB
	ByteBurst   int           // and at once; 4 MiB
	Patience    time.Duration // how long a session may always be over its rates; 5m
}

func (l *Limits) fill() {
	for _, d := range []struct {
		n   *int
		def int
	}{
		{&l.Roster, 5000}, {&l.Pending, 1000}, {&l.Directed, 500}, {&l.Asking, 256},
		{&l.StanzaRate, 200}, {&l.StanzaBurst, 4000}, {&l.ByteRate, 256 << 10}, {&l.ByteBurst, 4 << 20},
	} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	if l.Patience == 0 {
		l.Patience = 5 * time.Minute
	}
}

// What goes with events, where 0 is no limit.
func (l *Limits) items() uint32    { return uint32(max(l.Roster, 0)) }
func (l *Limits) requests() uint32 { return uint32(max(l.Pending, 0)) }
func (l *Limits) targets() uint32  { return uint32(max(l.Directed, 0)) }
