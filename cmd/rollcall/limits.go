package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/rollcall/rollcall/edge"
)

// limitFlags bound what one session, or one account, may ask of an edge.
type limitFlags struct {
	MaxStanza    int `help:"Bytes of one stanza." default:"262144"`
	MaxResources int `help:"Sessions of one account, on this edge and on all." default:"20"`
	MaxRoster    int `help:"Items of a roster; -1: no limit." default:"5000"`
	MaxPending   int `help:"Requests to subscribe that wait for an account, of contacts outside its roster; -1: no limit." default:"1000"`
	MaxWaiting   int `help:"Messages that wait for an account that takes none; -1: no limit." default:"1000"`
	MaxDirected  int `help:"Targets of directed presence of a session; -1: no limit." default:"500"`
	MaxAsking    int `help:"Requests of a session that are not answered yet; -1: no limit." default:"256"`

	MaxPayload   int `help:"Bytes of an item that a client publishes, and of each element that it stores." default:"196608"`
	MaxStored    int `help:"Elements that an account stores (XEP-0049), its vCard too." default:"100"`
	MaxNodes     int `help:"Nodes of an account (XEP-0163)." default:"200"`
	MaxItems     int `help:"Items of a node." default:"1000"`
	MaxPublished int `help:"Bytes of all items of an account." default:"33554432"`

	StanzaRate  int           `help:"Stanzas that a session may send a second, for long; -1: no limit." default:"200"`
	StanzaBurst int           `help:"Stanzas that a session may send at once." default:"4000"`
	ByteRate    int           `help:"Bytes that a session may send a second, for long; -1: no limit." default:"262144"`
	ByteBurst   int           `help:"Bytes that a session may send at once." default:"4194304"`
	Patience    time.Duration `help:"How long a session may be over its rates all the time; negative: for ever." default:"5m"`
}

func (l *limitFlags) limits() edge.Limits {
	return edge.Limits{
		Roster: l.MaxRoster, Pending: l.MaxPending, Waiting: l.MaxWaiting, Directed: l.MaxDirected, Asking: l.MaxAsking,
		StanzaRate: l.StanzaRate, StanzaBurst: l.StanzaBurst, ByteRate: l.ByteRate, ByteBurst: l.ByteBurst, Patience: l.Patience,
	}
}

// notZero refuses 0 for the numbers and times of a struct of flags: it would be
// taken for the usual one, and is neither none nor no limit.
func notZero(flags any) error {
	v := reflect.Indirect(reflect.ValueOf(flags))
	for i := range v.NumField() {
		switch f := v.Type().Field(i); f.Type.Kind() {
		case reflect.Int, reflect.Int64, reflect.Float64:
			if v.Field(i).IsZero() {
				return zeroError(hyphens(f.Name))
			}
		}
	}
	return nil
}

func zeroError(flag string) error {
	return fmt.Errorf("--%s 0: say more, or leave it out; --help tells whether a negative one means no limit", flag)
}

// hyphens gives a field's name as its flag is written.
func hyphens(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
