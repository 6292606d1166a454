// Package eventtest generates random events and outbox records for tests.
package eventtest

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
)

// Event generates events as a session, the projector or the reaper writes
// them: of every kind, with a whole envelope, addresses among accounts (bare
// JIDs) and their resources "a", "b" and "c", and enums, shows and priorities
// that mean something. Offsets and positions are small, so that they meet
// what is there now and then.
func Event(accounts []string) *rapid.Generator[*event.Event] {
	return rapid.Custom(func(t *rapid.T) *event.Event {
		g := generator{t, accounts}
		e := &event.Event{
			Id:       g.id("id"),
			At:       rapid.Int64Range(0, 4e15).Draw(t, "at"),
			Origin:   rapid.SampledFrom([]string{"edge/a/1", "edge/a/2", "edge/b/3", "p/0", "p/7"}).Draw(t, "origin"),
			Sequence: rapid.Uint64Range(0, 1000).Draw(t, "sequence"),
			Index:    rapid.Uint32Range(0, 3).Draw(t, "index"),
		}
		if rapid.Bool().Draw(t, "bound") {
			e.Binding = g.id("binding")
		}
		g.kind(e.ProtoReflect())
		if event.KindOf(e).String() == "edge_lost" {
			e.Origin, e.Sequence, e.Index, e.Binding = "", 0, 0, nil
		}
		return e
	})
}

// Output generates outbox records likewise.
func Output(accounts []string) *rapid.Generator[*event.Output] {
	return rapid.Custom(func(t *rapid.T) *event.Output {
		g := generator{t, accounts}
		o := &event.Output{
			At:       rapid.Int64Range(0, 4e15).Draw(t, "at"),
			Origin:   rapid.SampledFrom([]string{"p/0", "p/7"}).Draw(t, "origin"),
			Sequence: rapid.Uint64Range(0, 1000).Draw(t, "sequence"),
			Index:    rapid.Uint32Range(0, 3).Draw(t, "index"),
		}
		g.kind(o.ProtoReflect())
		return o
	})
}

type generator struct {
	t        *rapid.T
	accounts []string
}

func (g generator) id(label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(g.t, label)
}

// kind sets one of an envelope's kinds and what it holds.
func (g generator) kind(envelope protoreflect.Message) {
	kinds := envelope.Descriptor().Oneofs().ByName("kind").Fields()
	field := kinds.Get(rapid.IntRange(0, kinds.Len()-1).Draw(g.t, "kind"))
	value := envelope.NewField(field)
	g.fill(value.Message())
	envelope.Set(field, value)
}

// fill sets m's fields by what their names mean.
func (g generator) fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			if f.Message() != nil {
				for range rapid.IntRange(0, 3).Draw(g.t, string(f.Name())+" number") {
					element := list.NewElement()
					g.fill(element.Message())
					list.Append(element)
				}
				continue
			}
			if jids(f) {
				for range rapid.IntRange(0, 2).Draw(g.t, string(f.Name())+" number") {
					list.Append(protoreflect.ValueOfString(rapid.SampledFrom(g.accounts).Draw(g.t, string(f.Name()))))
				}
				continue
			}
			for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Friends", "Family", "Verona"}), 0, 3, rapid.ID[string]).Draw(g.t, string(f.Name())) {
				list.Append(protoreflect.ValueOfString(s))
			}
		case f.Message() != nil:
			if rapid.IntRange(0, 9).Draw(g.t, string(f.Name())+" set") > 0 || f.Name() == "item" || f.Name() == "message" {
				g.fill(m.Mutable(f).Message())
			}
		default:
			m.Set(f, g.scalar(f, m))
		}
	}
}

// jids tells that the strings of a list are JIDs.
func jids(f protoreflect.FieldDescriptor) bool {
	return f.Name() == "blocked" || f.Name() == "unblocked" || f.Name() == "contacts"
}

func (g generator) scalar(f protoreflect.FieldDescriptor, m protoreflect.Message) protoreflect.Value {
	t, label := g.t, string(f.Name())
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, label))
	case protoreflect.EnumKind:
		// 0 is "unspecified" in each of them.
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(1, f.Enum().Values().Len()-1).Draw(t, label)))
	case protoreflect.Int32Kind: // priority
		return protoreflect.ValueOfInt32(rapid.Int32Range(-128, 127).Draw(t, label))
	case protoreflect.Int64Kind: // offsets
		return protoreflect.ValueOfInt64(rapid.Int64Range(0, 50).Draw(t, label))
	case protoreflect.Uint64Kind: // epochs
		return protoreflect.ValueOfUint64(rapid.Uint64Range(1, 5).Draw(t, label))
	case protoreflect.Uint32Kind: // orders, counts and stanza numbers
		return protoreflect.ValueOfUint32(rapid.Uint32Range(0, 9).Draw(t, label))
	case protoreflect.BytesKind:
		if f.Name() == "payload" {
			return protoreflect.ValueOfBytes([]byte(rapid.SampledFrom([]string{"", "<nick xmlns='http://jabber.org/protocol/nick'>J</nick>"}).Draw(t, label)))
		}
		return protoreflect.ValueOfBytes(g.id(label))
	}
	return protoreflect.ValueOfString(g.text(f, m))
}

func (g generator) text(f protoreflect.FieldDescriptor, m protoreflect.Message) string {
	t, label := g.t, string(f.Name())
	account := func() string { return rapid.SampledFrom(g.accounts).Draw(t, label) }
	resource := rapid.SampledFrom([]string{"a", "b", "c"})
	item, isItem := m.Interface().(*event.PrivacyItem)
	switch f.Name() {
	case "type":
		return rapid.SampledFrom([]string{"", "jid", "group", "subscription"}).Draw(t, label)
	case "value":
		if isItem && item.GetType() == "subscription" {
			return rapid.SampledFrom([]string{"none", "to", "from", "both"}).Draw(t, label)
		}
		if isItem && item.GetType() == "group" {
			return rapid.SampledFrom([]string{"Friends", "Family", "Verona"}).Draw(t, label)
		}
		return account()
	case "node":
		return rapid.SampledFrom([]string{"urn:xmpp:avatar:data", "http://jabber.org/protocol/nick"}).Draw(t, label)
	case "contact", "jid":
		return account()
	case "to":
		if rapid.Bool().Draw(t, "to bare") {
			return account()
		}
		return account() + "/" + resource.Draw(t, label)
	case "from":
		switch m.Interface().(type) {
		case *event.SubscriptionStanza:
			return account()
		case *event.Outcome:
			return rapid.SampledFrom(append([]string{""}, g.accounts...)).Draw(t, label)
		}
		return account() + "/" + resource.Draw(t, label)
	case "resource":
		switch m.Interface().(type) {
		case *event.DirectedReceived, *event.MessageAccepted: // may be for all
			return rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, label)
		}
		return resource.Draw(t, label)
	case "edge":
		return rapid.SampledFrom([]string{"a", "b"}).Draw(t, label)
	case "show":
		return rapid.SampledFrom([]string{"", "away", "chat", "dnd", "xa"}).Draw(t, label)
	case "lang":
		return rapid.SampledFrom([]string{"", "en", "it"}).Draw(t, label)
	case "condition":
		return rapid.SampledFrom([]string{"", "item-not-found", "service-unavailable"}).Draw(t, label)
	}
	return rapid.StringOfN(rapid.RuneFrom([]rune("abc é例")), 0, 8, -1).Draw(t, label)
}
