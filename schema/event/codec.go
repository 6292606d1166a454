// Package event is the vocabulary of the log: the envelope, every kind of
// event and of outbox record, and their bytes. The types are generated from
// event.proto; this file adds what the generator cannot know.
package event

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A GarbageError tells that bytes are no record that any version wrote. The
// caller sets the record aside and goes on with the next offset.
type GarbageError struct{ Err error }

// Error says why.
func (e *GarbageError) Error() string { return "event: not a record: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *GarbageError) Unwrap() error { return e.Err }

// ErrNewer tells that a record is of a kind that this version does not know:
// stop the partition and run a newer version, for to skip it would fold to
// another state.
var ErrNewer = errors.New("event: written by a newer version")

// Kind is the number of a field of the oneof "kind" of Event or Output.
type Kind protoreflect.FieldNumber

// firstKind is the lowest number that a kind has in either envelope; lower
// numbers are the envelope's own.
const firstKind = 16

var (
	eventKinds  = kindsOf("Event")
	outputKinds = kindsOf("Output")
	kindNames   = namesOf(eventKinds)
	eventTypes  = typesOf(eventKinds)
)

// kindsOf gives the oneof of an envelope. The generated file would set up its
// descriptors only after this file's variables.
func kindsOf(envelope protoreflect.Name) protoreflect.OneofDescriptor {
	file_schema_event_event_proto_init()
	return File_schema_event_event_proto.Messages().ByName(envelope).Oneofs().ByName("kind")
}

func namesOf(o protoreflect.OneofDescriptor) map[Kind]string {
	names := make(map[Kind]string, o.Fields().Len())
	for i := range o.Fields().Len() {
		f := o.Fields().Get(i)
		names[Kind(f.Number())] = string(f.Name())
	}
	return names
}

// typesOf gives the kind by the type of what the field Kind of an Event holds:
// to look that up takes 17 ns, and to ask the message 115.
func typesOf(o protoreflect.OneofDescriptor) map[reflect.Type]Kind {
	types := make(map[reflect.Type]Kind, o.Fields().Len())
	for i := range o.Fields().Len() {
		f, e := o.Fields().Get(i), new(Event)
		e.ProtoReflect().Set(f, e.ProtoReflect().NewField(f))
		types[reflect.TypeOf(e.Kind)] = Kind(f.Number())
	}
	return types
}

// String gives the kind's name in the proto: "presence_available".
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", int32(k))
}

// KindOf gives the kind of e, 0 if it has none.
func KindOf(e *Event) Kind { return eventTypes[reflect.TypeOf(e.GetKind())] }

// OutputKind gives the name of o's kind in the proto: "roster_push".
func OutputKind(o *Output) string {
	if f := o.ProtoReflect().WhichOneof(outputKinds); f != nil {
		return string(f.Name())
	}
	return ""
}

// ID gives the event's id, the zero UUID if it has none.
func ID(e *Event) uuid.UUID { return UUID(e.GetId()) }

// UUID gives the id that a field of bytes holds, the zero UUID if it holds none.
func UUID(field []byte) (id uuid.UUID) {
	if len(field) == len(id) {
		copy(id[:], field)
	}
	return id
}

// Time gives when the event was written.
func Time(e *Event) time.Time { return time.UnixMicro(e.GetAt()).UTC() }

// Marshal gives the bytes of e, the same for equal events.
func Marshal(e *Event) ([]byte, error) {
	if KindOf(e) == 0 {
		return nil, errors.New("event: no kind")
	}
	return marshal.Marshal(e)
}

// MarshalOutput gives the bytes of o, the same for equal records.
func MarshalOutput(o *Output) ([]byte, error) {
	if o.GetKind() == nil {
		return nil, errors.New("event: output of no kind")
	}
	return marshal.Marshal(o)
}

var marshal = proto.MarshalOptions{Deterministic: true}

// Decode reads the value of a record of the topic account. It returns a
// *GarbageError for what no version wrote and ErrNewer for a kind that only
// a newer version knows.
func Decode(value []byte) (*Event, error) {
	e := new(Event)
	if err := proto.Unmarshal(value, e); err != nil {
		return nil, &GarbageError{err}
	}
	if e.GetKind() == nil {
		return nil, kindless(e.ProtoReflect().GetUnknown(), len(e.GetId()) == len(uuid.UUID{}) && e.GetOrigin() != "")
	}
	if _, lost := e.GetKind().(*Event_EdgeLost); !lost && (len(e.GetId()) != len(uuid.UUID{}) || e.GetOrigin() == "") {
		return nil, &GarbageError{errors.New("no id or no origin")}
	}
	return e, nil
}

// DecodeOutput reads the value of a record of the topic outbox; its errors
// are those of Decode.
func DecodeOutput(value []byte) (*Output, error) {
	o := new(Output)
	if err := proto.Unmarshal(value, o); err != nil {
		return nil, &GarbageError{err}
	}
	if o.GetKind() == nil {
		return nil, kindless(o.ProtoReflect().GetUnknown(), o.GetOrigin() != "")
	}
	return o, nil
}

// kindless tells a record of a newer kind, whose envelope is whole, from bytes
// that happen to parse.
func kindless(unknown []byte, whole bool) error {
	for whole && len(unknown) > 0 {
		number, kind, n := protowire.ConsumeTag(unknown)
		if n < 0 {
			break
		}
		if number >= firstKind && kind == protowire.BytesType {
			return fmt.Errorf("%w: kind %d", ErrNewer, number)
		}
		size := protowire.ConsumeFieldValue(number, kind, unknown[n:])
		if size < 0 {
			break
		}
		unknown = unknown[n+size:]
	}
	return &GarbageError{errors.New("no kind")}
}
